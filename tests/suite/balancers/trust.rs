//! Whose word on where users are counts, and which.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{ELSEWHERE, NODE_V4, Place, eventually};
use serde_json::Value;

use super::{BACK, Balanced};

/// What pretends that alice has connected.
const FORGED: &[u8] = b"PROXY TCP4 198.51.111.1 198.51.100.10 40000 22\r\n";

/// How much the node says to whoever connects with these words.
fn answer(place: &Place, to: impl Into<IpAddr>, words: &[u8]) -> Result<usize> {
    let to = SocketAddr::new(to.into(), BACK);
    place.enter(|| -> Result<usize> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(words)?;
        let mut said = Vec::new();
        // Whether closed or reset: nothing may have been said.
        let _ended = stream.read_to_end(&mut said);
        Ok(said.len())
    })?
}

impl Balanced {
    fn relay_says(&self, said: &str) -> Result<()> {
        eventually(said, || Ok(self.relay.log()?.contains(said).then_some(())))
    }
}

#[test]
fn who_is_no_balancer_and_what_is_no_header_is_closed() -> Result<()> {
    let balanced = Balanced::by("send-proxy-v2", NODE_V4.into())?;
    let lab = &balanced.scene.lab;
    assert_eq!(answer(&lab.alice(), NODE_V4, FORGED)?, 0, "alice vouches for nobody");
    let nobody = b"PROXY TCP4 127.0.0.1 198.51.100.10 40000 22\r\n";
    for words in [&b"SSH-2.0-none\r\n"[..], b"PROXY UNKNOWN\r\n", b"PROXY TCP4 198.51.111.1", nobody] {
        assert_eq!(answer(&lab.elsewhere(), NODE_V4, words)?, 0, "{words:?}");
    }
    for said in
        ["not in trusted_proxies", "no PROXY protocol header", "names no client", "where no client is"]
    {
        balanced.relay_says(said)?;
    }
    eventually("the health check finds a relay", || Ok((balanced.haproxy.health()? == "L4OK").then_some(())))
}

#[test]
fn the_node_itself_is_believed_only_where_its_very_address_is_named() -> Result<()> {
    let balanced = Balanced::with(|agent| agent, ", \"198.51.100.0/24\", \"127.0.0.0/8\"")?;
    let node = balanced.scene.lab.node();
    assert_eq!(answer(node, NODE_V4, FORGED)?, 0);
    assert_eq!(answer(node, Ipv4Addr::LOCALHOST, FORGED)?, 0);
    balanced.relay_says("198.51.100.10 is one of this node's own addresses")?;
    balanced.relay_says("127.0.0.1 is one of this node's own addresses")?;
    let trust = || -> Result<Value> {
        let output = node.output(Place::command("cotter-agent").args(["doctor", "--json"]))?;
        let all: Vec<Value> = serde_json::from_slice(&output.stdout)?;
        Ok(all.into_iter().find(|finding| finding["id"] == "relay-trust").unwrap_or_default())
    };
    assert_eq!(trust()?["level"], "ok");
    balanced.reconfigure("198.51.100.0/24", "198.51.100.10")?;
    assert_eq!(trust()?["level"], "warning");
    let mut relay = balanced.relay;
    relay.restart()?;
    let node = balanced.scene.lab.node();
    let greeting = node.enter(|| -> Result<[u8; 4]> {
        let mut stream = TcpStream::connect((NODE_V4, BACK))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(FORGED)?;
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting)?;
        Ok(greeting)
    })??;
    assert_eq!(&greeting, b"SSH-", "a balancer that runs on the node");
    Ok(())
}

#[test]
fn a_balancer_that_is_trusted_no_more_is_not_believed_by_a_relay_that_has_not_heard_of_it() -> Result<()> {
    let balanced = Balanced::by("send-proxy-v2", NODE_V4.into())?;
    let alice = balanced.alice()?;
    let login = balanced.login(&balanced.scene.lab.alice(), &alice, ELSEWHERE.v4.into());
    login.succeed("true")?;
    balanced.reconfigure("\"198.51.222.2\"", "\"198.51.222.3\"")?;
    ensure!(!login.run("echo in")?.status.success());
    balanced.relay_says("198.51.222.2 is not in trusted_proxies any more")
}
