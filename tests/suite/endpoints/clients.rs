//! Sockets with which a session turns to others by itself: whom it has asked may answer, as long as the session may go on.

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use lab::{ELSEWHERE, NODE_V4, eventually};

use super::{Endpoints, NEVER, SERVER, SOON, UDP, comes_back};
use crate::scene::text;

#[test]
fn a_cut_ends_what_a_session_has_opened_itself() -> Result<()> {
    let node = Endpoints::new()?;
    let oracle = node.scene.lab.elsewhere().enter(|| UdpSocket::bind((ELSEWHERE.v4, 53)))??;
    oracle.set_read_timeout(Some(SOON))?;
    let login = node.scene.at_alice(&node.scene.alice()?);
    let client = format!("/usr/bin/python3 {SERVER} asks {} 53 0 >answer", ELSEWHERE.v4);
    login.succeed(&format!("setsid {client} </dev/null 2>&1 &"))?;
    let (_, asker) = oracle.recv_from(&mut [0; 8])?;
    node.scene.agent.told(&["cut", text(&node.session()?, "id")?])?;
    oracle.send_to(b"answer", asker)?;
    let answer = eventually("the client has given up", || {
        let answer = node.scene.lab.node().read("/home/alice/answer")?;
        Ok((!answer.is_empty()).then_some(answer))
    })?;
    assert_eq!(answer.trim(), "nothing");
    Ok(())
}

#[test]
fn answers_come_to_a_client_that_asked_and_nobody_else_gets_in_there() -> Result<()> {
    let node = Endpoints::new()?;
    let alice = node.scene.alice()?;
    let oracle = node.scene.lab.elsewhere().enter(|| UdpSocket::bind((ELSEWHERE.v4, 53)))??;
    oracle.set_read_timeout(Some(SOON))?;
    for (own, answered) in [("0", true), ("unbound", true), ("4000", false)] {
        let login = node.scene.at_alice(&alice);
        let command = format!("exec /usr/bin/python3 {SERVER} asks {} 53 {own}", ELSEWHERE.v4);
        let mut client = login.run_at_terminal(&command)?;
        let (_, asker) = oracle.recv_from(&mut [0; 8])?;
        // From the same address, but not from whom it asked.
        let other = node.scene.lab.elsewhere().enter(|| UdpSocket::bind((ELSEWHERE.v4, 54)))??;
        other.send_to(b"wrong", asker)?;
        oracle.send_to(b"answer", asker)?;
        let expected = if answered { "answer" } else { "nothing" };
        assert_eq!(client.hears("\n", 2 * SOON)?.trim(), expected, "port {own}");
    }
    Ok(())
}

#[test]
fn a_socket_that_was_connected_and_let_go_is_an_endpoint_as_before() -> Result<()> {
    let node = Endpoints::new()?;
    let peer = node.scene.lab.elsewhere().enter(|| UdpSocket::bind((ELSEWHERE.v4, 5_000)))??;
    let server = format!("connects {} 5000 {UDP}", ELSEWHERE.v4);
    let (mut session, port) = node.serve(&node.scene.alice()?, &server)?;
    session.send("let go")?;
    session.hears("let go", SOON)?;
    ensure!(!comes_back(&peer, (NODE_V4, port).into(), NEVER)?, "the former peer is let in");
    node.only_alice_reaches(port)
}
