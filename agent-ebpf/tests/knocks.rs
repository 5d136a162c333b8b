//! Datagrams to where knocks are heard: nothing else gets to the agent, and of one source not too many.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/lab/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the lab, of which the suite uses the rest")]
mod frames;
#[allow(missing_docs, unreachable_pub, dead_code, reason = "a module of the suite as well")]
mod world;

use std::net::SocketAddr;

use agent_ebpf::{Budget, KNOCK, Layer, Packet, PortClass, Reason, verdict};
use frames::Frame;
use world::{World, alice, at, stranger};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_000 * SECOND;

fn door() -> SocketAddr {
    at("192.0.2.10:4022")
}

fn node() -> World {
    World { ports: [(door().port(), PortClass::UDP_KNOCK)].into(), ..World::enforcing(NOW) }
}

/// A datagram with this content.
fn datagram(from: SocketAddr, content: &[u8]) -> Vec<u8> {
    Frame { payload: content.to_vec(), ..Frame::udp(from, door()) }.ip()
}

fn reason(world: &World, packet: &[u8]) -> Reason {
    verdict(&Packet::parse(packet, Layer::Ip), world).reason
}

#[test]
fn only_what_begins_as_a_knock_is_heard() {
    let knock = [&KNOCK[..], &[0; 300]].concat();
    assert_eq!(reason(&node(), &datagram(alice(), &knock)), Reason::LoginAttempt);
    for rubbish in [&b""[..], b"ctknock", b"ctknock\x02rest", b"GET / HTTP/1.1\r\n"] {
        assert_eq!(reason(&node(), &datagram(alice(), rubbish)), Reason::Malformed, "{rubbish:?}");
    }
    // What lies behind the end that the IP header claims is not looked at.
    let mut padded = datagram(alice(), b"");
    padded.extend(KNOCK);
    assert_eq!(reason(&node(), &padded), Reason::Malformed);
    assert_eq!(reason(&node(), &Frame::tcp(alice(), door()).ip()), Reason::NotProtected);
    let elsewhere = World { local: [].into(), ..node() };
    assert_eq!(reason(&elsewhere, &datagram(alice(), &knock)), Reason::NotLocal);
}

#[test]
fn a_source_that_knocks_too_often_is_not_heard_for_a_moment_and_others_are() {
    let mut world = node();
    let heard = |world: &World, from| {
        (0..100).filter(|_| reason(world, &datagram(from, &KNOCK)) == Reason::LoginAttempt).count() as u64
    };
    assert_eq!(heard(&world, stranger()), Budget::KNOCKS);
    assert_eq!(reason(&world, &datagram(stranger(), &KNOCK)), Reason::Penalty);
    assert_eq!(heard(&world, alice()), Budget::KNOCKS);
    world.now += SECOND / 2;
    assert_eq!(heard(&world, stranger()), Budget::KNOCKS / 2);
}
