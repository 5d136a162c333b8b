//! Loopback and other networks on the node: what sessions open there is nobody's business but their own.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Result, ensure};
use lab::{NODE_V4, Place, eventually};

use super::{
    Endpoints, HOLDING, NEVER, SERVER, SOON, TCP, UDP, comes_back, datagram_comes_back, line_to_comes_back,
};

/// A network that a session makes for itself, and the node's end of the wire to it.
const INNER: Ipv4Addr = Ipv4Addr::new(198, 51, 55, 5);
const OUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 55, 254);

#[test]
fn loopback_is_left_alone() -> Result<()> {
    let node = Endpoints::new()?;
    let (_server, port) = node.serve(&node.scene.alice()?, &format!("udp {UDP}"))?;
    let local = node.scene.lab.node().enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    ensure!(comes_back(&local, (Ipv4Addr::LOCALHOST, port).into(), SOON)?, "127.0.0.1");
    ensure!(comes_back(&local, (NODE_V4, port).into(), SOON)?, "the node's own address");
    Ok(())
}

#[test]
fn what_a_session_opens_in_a_network_of_its_own_is_not_taken_for_the_nodes() -> Result<()> {
    let node = Endpoints::new()?;
    let (root, elsewhere) = (node.scene.lab.node(), node.scene.lab.elsewhere());
    let servers = format!("python3 {SERVER} tcp {TCP} & exec python3 {SERVER} udp {UDP}");
    let inside = format!("echo pid $$.; read wired; {servers}");
    let login = node.scene.at_alice(&node.alice_as(HOLDING)?);
    let mut session = login.run_at_terminal(&format!("exec unshare --user --net sh -c '{inside}'"))?;
    let said = session.hears(".", SOON)?;
    wire(root, said.trim().trim_start_matches("pid ").trim_end_matches('.'))?;
    session.send("wired")?;
    eventually("UDP in its own network answers", || {
        Ok(datagram_comes_back(&elsewhere, (INNER, UDP), NEVER)?.then_some(()))
    })?;
    eventually("TCP in its own network answers", || {
        Ok(line_to_comes_back(&elsewhere, (INNER, TCP).into(), NEVER)?.then_some(()))
    })?;

    // The same port of the node's is the node's.
    let mut server = Place::command("python3");
    let _server = root.spawn(server.args([SERVER, "udp", &UDP.to_string()]))?;
    eventually("the node's own server answers", || {
        Ok(datagram_comes_back(&elsewhere, (NODE_V4, UDP), NEVER)?.then_some(()))
    })?;
    let listed = node.session()?;
    ensure!(listed["endpoints"].as_array().is_some_and(Vec::is_empty), "{listed}");
    Ok(())
}

/// Wires the network of a process to the node.
fn wire(root: &Place, pid: &str) -> Result<()> {
    let (inner, outer) = (format!("{INNER}/24"), format!("{OUTER}/24"));
    root.run("ip", &["link", "add", "wire", "type", "veth", "peer", "name", "eth0", "netns", pid])?;
    root.run("ip", &["address", "add", &outer, "dev", "wire"])?;
    root.run("ip", &["link", "set", "wire", "up"])?;
    let gateway = OUTER.to_string();
    for inside in [
        &["address", "add", &inner, "dev", "eth0"][..],
        &["link", "set", "eth0", "up"],
        &["route", "add", "default", "via", &gateway],
    ] {
        root.run("nsenter", &[&["--target", pid, "--net", "ip"], inside].concat())?;
    }
    Ok(())
}

#[test]
fn a_socket_of_the_nodes_network_is_held_wherever_its_process_has_gone() -> Result<()> {
    let node = Endpoints::new()?;
    let (_server, port) = node.serve(&node.scene.alice()?, &format!("udp {UDP} leave"))?;
    node.lists("udp", port)?;
    node.only_alice_reaches(port)
}
