//! Gates: whom the node's own services answer, condition by condition.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/lab/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the lab, of which the suite uses the rest")]
mod frames;
#[allow(missing_docs, unreachable_pub, reason = "a module of the suite as well")]
mod world;

use std::net::SocketAddr;

use agent_ebpf::{
    Address, GatedPort, Gates, Grant, Layer, Mode, Network, Node, Packet, Penalty, Port, PortClass, Protocol,
    Reason, Session, SessionId, SessionState, verdict,
};
use frames::Frame;
use world::{World, alice, at, stranger};

const MINUTE: u64 = 60_000_000_000;
const NOW: u64 = 1_000 * MINUTE;
const ID: SessionId = SessionId::new(7);
/// Of the connection that alice's session began on.
const COOKIE: u64 = 42;

fn database() -> SocketAddr {
    at("192.0.2.10:5432")
}

fn sshd() -> SocketAddr {
    at("192.0.2.10:22")
}

fn alices() -> Address {
    alice().ip().into()
}

/// A session of alice's that opens the database.
fn session() -> Session {
    Session::pinned(&[Network::host(alices())]).with_gates(Gates::NONE.with(3)).with_connection(COOKIE)
}

/// A node with a gate before its database, and alice connected to it by ssh.
fn node_with(session: Session) -> World {
    let gate = GatedPort::new(Protocol::Tcp, Port::new(database().port()));
    World {
        ports: [(database().port(), PortClass::gated(Protocol::Tcp))].into(),
        gates: [(gate, Gates::NONE.with(3).with(5))].into(),
        sessions: [(ID, session)].into(),
        grants: [(alices(), Grant::of(&[ID]))].into(),
        connected: [COOKIE].into(),
        ..World::enforcing(NOW)
    }
}

fn reason(world: &World, frame: &Frame) -> Reason {
    verdict(&Packet::parse(frame.ethernet().as_slice(), Layer::Ethernet), world).reason
}

fn alices_packet() -> Frame {
    Frame::tcp(alice(), database())
}

#[test]
fn a_live_pinned_session_opens_its_gates_to_its_address_alone() {
    let world = node_with(session());
    assert_eq!(reason(&world, &alices_packet()), Reason::Granted);
    assert_eq!(reason(&world, &Frame::tcp(stranger(), database())), Reason::NoGrant);
    let elsewhere = at("192.0.2.99:5432");
    assert_eq!(reason(&world, &Frame::tcp(stranger(), elsewhere)), Reason::NotLocal);
    assert_eq!(reason(&world, &Frame::udp(stranger(), database())), Reason::NotProtected);
}

#[test]
fn a_session_that_ends_in_any_way_shuts_them() {
    for (session, expected) in [
        (session().with_deadline(NOW + 1), Reason::Granted),
        (session().with_deadline(NOW), Reason::NoGrant),
        (session().with_state(SessionState::Cut), Reason::NoGrant),
        (session().with_gates(Gates::NONE.with(5)), Reason::Granted),
        (session().with_gates(Gates::NONE.with(4)), Reason::NoGrant),
        (session().moved_to(&Session::pinned(&[Network::host(stranger().ip().into())])), Reason::NoGrant),
        (Session::unpinned().with_gates(session().gates()).with_connection(COOKIE), Reason::NoGrant),
    ] {
        assert_eq!(reason(&node_with(session), &alices_packet()), expected, "{session:?}");
    }
    assert_eq!(
        reason(&World { sessions: [].into(), ..node_with(session()) }, &alices_packet()),
        Reason::NoGrant
    );
}

#[test]
fn what_was_left_behind_opens_nothing() {
    let left = World { connected: [].into(), ..node_with(session()) };
    assert_eq!(reason(&left, &alices_packet()), Reason::NoGrant);
    for (last, expected) in [
        (0, Reason::NoGrant),
        (NOW - 5 * MINUTE, Reason::NoGrant),
        (NOW - 5 * MINUTE + 1, Reason::Granted),
        (NOW + 1, Reason::Granted),
    ] {
        let roaming = World { uses: [(ID, last)].into(), ..left.clone() };
        assert_eq!(reason(&roaming, &alices_packet()), expected, "used at {last}");
    }
}

#[test]
fn any_of_the_sessions_at_an_address_will_do() {
    let ended = session().with_state(SessionState::Cut);
    let others: Vec<_> = (100..106).map(SessionId::new).collect();
    let mut world = node_with(session());
    world.sessions.extend(others.iter().map(|id| (*id, ended)));
    world.grants = [(alices(), Grant::of(&[&others[..], &[ID]].concat()))].into();
    assert_eq!(reason(&world, &alices_packet()), Reason::Granted);
    world.grants = [(alices(), Grant::of(&others))].into();
    assert_eq!(reason(&world, &alices_packet()), Reason::NoGrant);
}

#[test]
fn a_port_whose_gates_are_not_known_opens_to_nobody() {
    let world = World { gates: [].into(), ..node_with(session()) };
    assert_eq!(reason(&world, &alices_packet()), Reason::NoGrant);
}

/// The same node, dark for its sshd as well.
fn dark() -> World {
    let mut world = node_with(session());
    world.ports.insert(22, PortClass::TCP_LOGIN.and(PortClass::gated(Protocol::Tcp)));
    world.grants.insert(stranger().ip().into(), Grant::of(&[]).knocked(NOW + 1));
    world
}

#[test]
fn a_knock_opens_login_ports_and_no_others_and_not_for_long() {
    let mut world = dark();
    let syn = Frame::tcp(stranger(), sshd());
    assert_eq!(reason(&world, &syn), Reason::LoginAttempt);
    assert_eq!(reason(&world, &Frame::tcp(stranger(), database())), Reason::NoGrant);
    world.grants.insert(stranger().ip().into(), Grant::of(&[]).knocked(NOW));
    assert_eq!(reason(&world, &syn), Reason::NoGrant);
}

#[test]
fn behind_a_gate_a_login_port_is_what_it_was() {
    let mut world = dark();
    let gate = GatedPort::new(Protocol::Tcp, Port::new(22));
    world.gates.insert(gate, Gates::NONE.with(3));
    assert_eq!(reason(&world, &Frame::tcp(alice(), sshd())), Reason::LoginAttempt);
    assert_eq!(reason(&world, &Frame::tcp(at("203.0.113.9:1"), sshd())), Reason::NoGrant);
    world.penalties.insert(stranger().ip().into(), Penalty::until(NOW + 1));
    assert_eq!(reason(&world, &Frame::syn(stranger(), sshd(), &[])), Reason::Penalty);
}

#[test]
fn the_nodes_mode_and_never_drop_count_for_gates() {
    let syn = Frame::tcp(stranger(), database());
    let in_mode = |mode| World { node: Node::in_mode(mode), ..node_with(session()) };
    let audited = verdict(&Packet::parse(syn.ethernet().as_slice(), Layer::Ethernet), &in_mode(Mode::Audit));
    assert_eq!((audited.reason, audited.overruled), (Reason::Audit, Some(Reason::NoGrant)));
    assert_eq!(reason(&in_mode(Mode::Off), &syn), Reason::NotProtected);
    let spared = World { never_drop: vec![Network::host(stranger().ip().into())], ..node_with(session()) };
    assert_eq!(reason(&spared, &syn), Reason::NeverDrop);
    assert_eq!(reason(&spared, &Frame::tcp(at("203.0.113.9:1"), database())), Reason::NoGrant);
}
