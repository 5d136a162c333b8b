//! Connections of balancers: judged by where their users are.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/lab/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the lab, of which the suite uses the rest")]
mod frames;
#[allow(missing_docs, dead_code, unreachable_pub, reason = "a module of the suite as well")]
mod world;

use std::net::SocketAddr;

use agent_ebpf::{
    Flow, FlowKey, Layer, Leg, Network, Packet, PortClass, Reason, Session, SessionId, verdict,
};
use frames::Frame;
use world::{World, address, at};

const ID: SessionId = SessionId::new(7);
const COOKIE: u64 = 3;

fn balancer() -> SocketAddr {
    at("198.51.222.2:41000")
}

fn relay() -> SocketAddr {
    at("192.0.2.10:2222")
}

/// A node with a session that came by a balancer, of a user at this address if that is known.
fn node(user: Option<&str>) -> World {
    let (sshd, alice) = (at("127.0.0.1:22"), at("198.51.111.1:50000"));
    World {
        ports: [(22, PortClass::TCP_LOGIN), (2222, PortClass::TCP_LOGIN)].into(),
        local: [address("192.0.2.10"), address("127.0.0.1"), address("::1")].into(),
        flows: [
            (FlowKey::tcp(balancer(), relay()), Flow::of(ID, COOKIE).on(Leg::Outer)),
            (FlowKey::tcp(alice, sshd), Flow::of(ID, COOKIE + 1).on(Leg::Inner)),
        ]
        .into(),
        observed: user.map(|user| (COOKIE, address(user))).into_iter().collect(),
        sessions: [(ID, Session::pinned(&[Network::host(address("198.51.111.1"))]))].into(),
        ..World::enforcing(1_000)
    }
}

fn reason(world: &World, frame: &Frame) -> Reason {
    verdict(&Packet::parse(frame.ethernet().as_slice(), Layer::Ethernet), world).reason
}

#[test]
fn the_balancers_packets_are_judged_by_where_the_user_is() {
    let packet = Frame::tcp(balancer(), relay());
    assert_eq!(reason(&node(Some("198.51.111.1")), &packet), Reason::Pinned);
    assert_eq!(reason(&node(Some("198.51.44.3")), &packet), Reason::AddressMismatch);
    assert_eq!(reason(&node(None), &packet), Reason::AddressMismatch, "nobody knows where");
}

#[test]
fn nothing_that_a_device_brings_is_the_relays_way_to_sshd() {
    let mut world = node(Some("198.51.111.1"));
    for from in ["198.51.111.1:50000", "198.51.222.2:50000"] {
        let (from, sshd) = (at(from), at("127.0.0.1:22"));
        assert_eq!(reason(&world, &Frame::tcp(from, sshd)), Reason::Malformed);
        assert_eq!(reason(&world, &Frame::syn(from, sshd, &[])), Reason::Malformed);
    }
    let v6 = (at("[2001:db8::1]:50000"), at("[::1]:22"));
    assert_eq!(reason(&world, &Frame::syn(v6.0, v6.1, &[])), Reason::Malformed);
    // Nor where the session is held to no address.
    world.sessions.insert(ID, Session::pinned(&[]));
    let inner = Frame::tcp(at("198.51.111.1:50000"), at("127.0.0.1:22"));
    assert_eq!(reason(&world, &inner), Reason::Malformed);
    // Other ports are not ours there either.
    assert_eq!(reason(&world, &Frame::tcp(balancer(), at("127.0.0.1:80"))), Reason::NotProtected);
}
