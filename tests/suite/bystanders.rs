//! Packets that are none of our business pass, whatever the agent thinks of their sources.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::Result;
use lab::{ALICE, INSIDE, NODE_V4, Place, SshdSetup};

use crate::scene::Scene;

/// Opens a connection between two places and sends a word each way.
fn talk(server: &Place, client: &Place, address: SocketAddr) -> Result<()> {
    let limit = Duration::from_secs(10);
    let listener = server.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())))??;
    let mut near = client.enter(|| TcpStream::connect_timeout(&address, limit))??;
    let (mut far, _) = listener.accept()?;
    for (from, to) in [(0, 1), (1, 0)] {
        let ends = [&mut near, &mut far];
        ends[from].write_all(b"word")?;
        ends[to].set_read_timeout(Some(limit))?;
        let mut word = [0; 4];
        ends[to].read_exact(&mut word)?;
        assert_eq!(&word, b"word");
    }
    Ok(())
}

#[test]
fn traffic_through_the_node_passes_even_to_port_22() -> Result<()> {
    let scene = Scene::enforcing()?;
    scene.agent.told(&["lock", "--address", &format!("{}/32", ALICE.v4)])?;
    talk(&scene.lab.inside(), &scene.lab.alice(), (INSIDE.v4, 22).into())
}

#[test]
fn other_ports_of_the_node_are_nobodys_business() -> Result<()> {
    let scene = Scene::enforcing()?;
    scene.agent.told(&["lock", "--address", &format!("{}/32", ALICE.v4)])?;
    talk(scene.lab.node(), &scene.lab.alice(), (NODE_V4, 8080).into())
}

#[test]
fn fragmented_datagrams_arrive_whole() -> Result<()> {
    let scene = Scene::enforcing()?;
    let server = scene.lab.node().enter(|| UdpSocket::bind((NODE_V4, 5353)))??;
    server.set_read_timeout(Some(Duration::from_secs(10)))?;
    let client = scene.lab.alice().enter(|| UdpSocket::bind((ALICE.v4, 0)))??;
    client.send_to(&[7; 9000], (NODE_V4, 5353))?;
    let mut heard = vec![0; 10_000];
    assert_eq!(server.recv(&mut heard)?, 9000);
    Ok(())
}

#[test]
fn an_sshd_on_a_port_that_is_not_ours_is_left_alone() -> Result<()> {
    let scene = Scene::enforcing()?;
    drop(scene.sshd);
    let _other = SshdSetup::plain(&scene.ca)?.port(2222).start(&scene.lab)?;
    let identity = scene.ca.issue("bob", &lab::Order::login("bob", &["bob"]))?;
    let login = lab::Login::new(&scene.lab.elsewhere(), &identity, "bob").port(2222);
    assert_eq!(login.succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn the_pin_directory_is_roots_alone() -> Result<()> {
    let scene = Scene::enforcing()?;
    let mode = scene.lab.node().run("stat", &["-c", "%U %a", "/sys/fs/bpf/cotter"])?;
    assert_eq!(mode, "root 700\n");
    Ok(())
}
