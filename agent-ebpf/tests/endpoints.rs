//! The verdict on packets that come to sessions' sockets, and on what devices have learnt of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/lab/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the lab, of which the suite uses the rest")]
mod frames;
#[allow(missing_docs, unreachable_pub, reason = "a module of the suite as well")]
mod world;

use std::net::SocketAddr;

use agent_ebpf::{
    Asked, Endpoint, FlowKey, HeldEndpoints, Layer, Mode, Network, Node, Packet, Port, PortClass, Protocol,
    Reason, Receiver, Session, SessionId, SessionState, Tag, Verdict, Violated, verdict, verdict_at_socket,
};
use frames::Frame;
use world::{World, address, alice, at, stranger};

const ID: SessionId = SessionId::new(7);
const NOW: u64 = 1_000;
const COOKIE: u64 = 99;

fn server() -> SocketAddr {
    at("192.0.2.10:60001")
}

fn session() -> Session {
    Session::pinned(&[Network::host(address("198.51.111.1"))]).with_endpoints(HeldEndpoints::Udp)
}

/// A node in enforce mode with alice's session.
fn node_with(session: Session) -> World {
    World { sessions: [(ID, session)].into(), ..World::enforcing(NOW) }
}

/// An endpoint of alice's.
fn endpoint(protocol: Protocol) -> Receiver {
    Receiver { tag: Tag::of(ID, protocol).opened(), cookie: COOKIE, peer: None }
}

fn judge(world: &World, receiver: &Receiver, frame: &Frame) -> Verdict {
    verdict_at_socket(&Packet::parse(frame.ip().as_slice(), Layer::Ip), receiver, world)
}

fn reason(world: &World, receiver: &Receiver, from: SocketAddr) -> Reason {
    let frame = match receiver.tag.protocol() {
        Protocol::Tcp => Frame::tcp(from, server()),
        Protocol::Udp => Frame::udp(from, server()),
    };
    judge(world, receiver, &frame).reason
}

fn asked(by: SocketAddr) -> Asked {
    Asked::new(COOKIE, by.ip().into(), Port::new(by.port()))
}

#[test]
fn an_endpoint_is_reached_from_its_sessions_pin_alone() {
    let (world, udp) = (node_with(session()), endpoint(Protocol::Udp));
    assert_eq!(reason(&world, &udp, alice()), Reason::Pinned);
    assert_eq!(reason(&world, &udp, stranger()), Reason::AddressMismatch);
    assert_eq!(judge(&world, &udp, &Frame::udp(stranger(), server())).session, ID);
}

#[test]
fn which_endpoints_are_held_is_the_sessions_affair() {
    for (held, udp, tcp) in [
        (HeldEndpoints::None, Reason::NotProtected, Reason::NotProtected),
        (HeldEndpoints::Udp, Reason::AddressMismatch, Reason::NotProtected),
        (HeldEndpoints::All, Reason::AddressMismatch, Reason::AddressMismatch),
    ] {
        let world = node_with(session().with_endpoints(held));
        assert_eq!(reason(&world, &endpoint(Protocol::Udp), stranger()), udp, "{held:?}");
        assert_eq!(reason(&world, &endpoint(Protocol::Tcp), stranger()), tcp, "{held:?}");
    }
}

#[test]
fn a_session_that_is_cut_or_over_receives_nothing_whatever_is_held() {
    let lenient = session().with_endpoints(HeldEndpoints::None);
    let client = Receiver { tag: Tag::of(ID, Protocol::Udp), ..endpoint(Protocol::Udp) };
    for receiver in [endpoint(Protocol::Udp), endpoint(Protocol::Tcp), client] {
        for from in [alice(), stranger()] {
            let cut = node_with(lenient.with_state(SessionState::Cut));
            assert_eq!(reason(&cut, &receiver, from), Reason::SessionCut);
            assert_eq!(
                reason(&node_with(lenient.with_deadline(NOW)), &receiver, from),
                Reason::SessionExpired
            );
        }
    }
}

#[test]
fn what_a_session_connects_itself_is_its_own_affair() {
    let client = Receiver { tag: Tag::of(ID, Protocol::Udp), ..endpoint(Protocol::Udp) };
    assert_eq!(reason(&node_with(session()), &client, stranger()), Reason::NotProtected);
}

#[test]
fn a_socket_whose_session_is_gone_is_cut_if_it_is_an_endpoint() {
    let world = World { sessions: [].into(), ..node_with(session()) };
    assert_eq!(reason(&world, &endpoint(Protocol::Udp), alice()), Reason::SessionCut);
    let client = Receiver { tag: Tag::of(ID, Protocol::Tcp), ..endpoint(Protocol::Tcp) };
    assert_eq!(reason(&world, &client, stranger()), Reason::NotProtected);
}

#[test]
fn a_connected_peer_answers_and_only_of_udp() {
    let world = node_with(session().with_endpoints(HeldEndpoints::All));
    let connected = |protocol| Receiver { peer: Some(stranger().ip().into()), ..endpoint(protocol) };
    assert_eq!(reason(&world, &connected(Protocol::Udp), stranger()), Reason::NotProtected);
    assert_eq!(reason(&world, &connected(Protocol::Udp), at("203.0.113.9:50000")), Reason::AddressMismatch);
    // An accepted connection has a peer as well: whoever came.
    assert_eq!(reason(&world, &connected(Protocol::Tcp), stranger()), Reason::AddressMismatch);
}

#[test]
fn whom_a_socket_has_sent_to_answers_only_where_the_kernel_chose_its_port() {
    let world = World { asked: [asked(stranger())].into(), ..node_with(session()) };
    let udp = endpoint(Protocol::Udp);
    let any = Receiver { tag: udp.tag.with_any_port(true), ..udp };
    assert_eq!(reason(&world, &udp, stranger()), Reason::AddressMismatch);
    assert_eq!(reason(&world, &any, stranger()), Reason::NotProtected);
    assert_eq!(reason(&world, &any, at("198.51.222.2:50001")), Reason::AddressMismatch);
    let another = Receiver { cookie: COOKIE + 1, ..any };
    assert_eq!(reason(&world, &another, stranger()), Reason::AddressMismatch);
}

#[test]
fn what_cannot_be_read_is_judged_by_its_source() {
    let (world, udp) = (node_with(session()), endpoint(Protocol::Udp));
    let judge = |from| {
        let mut packet = Frame::udp(from, server()).ip();
        packet.truncate(22);
        verdict_at_socket(&Packet::parse(packet.as_slice(), Layer::Ip), &udp, &world).reason
    };
    assert_eq!(judge(alice()), Reason::Pinned);
    assert_eq!(judge(stranger()), Reason::AddressMismatch);
}

#[test]
fn modes_and_never_drop_count_as_for_connections() {
    let (held, udp) = (node_with(session()), endpoint(Protocol::Udp));
    let audit = World { node: Node::in_mode(Mode::Audit), ..held.clone() };
    let verdict = judge(&audit, &udp, &Frame::udp(stranger(), server()));
    assert_eq!((verdict.reason, verdict.overruled), (Reason::Audit, Some(Reason::AddressMismatch)));
    let off = World { node: Node::in_mode(Mode::Off), ..held.clone() };
    assert_eq!(reason(&off, &udp, stranger()), Reason::NotProtected);
    assert_eq!(reason(&node_with(session().with_mode(Mode::Off)), &udp, stranger()), Reason::NotProtected);
    let spared = World { never_drop: vec![Network::host(address("198.51.222.2"))], ..held };
    assert_eq!(reason(&spared, &udp, stranger()), Reason::NeverDrop);
}

/// A node whose devices have learnt that the stranger may not reach the server.
fn learnt(session: Session) -> World {
    let end = |end: SocketAddr| (end.ip().into(), Port::new(end.port()));
    let violation = FlowKey::new(Protocol::Udp, end(stranger()), end(server()));
    World {
        ports: [(server().port(), PortClass::violated(Protocol::Udp))].into(),
        violated: [(violation, ID)].into(),
        ..node_with(session)
    }
}

fn at_device(world: &World, frame: &Frame) -> Reason {
    verdict(&Packet::parse(frame.ethernet().as_slice(), Layer::Ethernet), world).reason
}

#[test]
fn devices_drop_what_they_have_learnt_and_nothing_beside_it() {
    let world = learnt(session());
    assert_eq!(at_device(&world, &Frame::udp(stranger(), server())), Reason::AddressMismatch);
    for (from, to) in [
        (alice(), server()),
        (at("198.51.222.2:50001"), server()),
        (stranger(), at("192.0.2.10:60002")),
        (stranger(), at("192.0.2.11:60001")),
    ] {
        assert_eq!(at_device(&world, &Frame::udp(from, to)), Reason::NotProtected, "{from} {to}");
    }
    assert_eq!(at_device(&world, &Frame::tcp(stranger(), server())), Reason::NotProtected);
}

#[test]
fn what_was_learnt_counts_no_more_where_the_pin_or_the_mode_has_moved() {
    let moved = Session::pinned(&[Network::host(address("198.51.222.2"))]).with_endpoints(HeldEndpoints::Udp);
    let packet = Frame::udp(stranger(), server());
    assert_eq!(at_device(&learnt(moved), &packet), Reason::NotProtected);
    // The socket counts it.
    let audit = World { node: Node::in_mode(Mode::Audit), ..learnt(session()) };
    assert_eq!(at_device(&audit, &packet), Reason::NotProtected);
    let off = World { node: Node::in_mode(Mode::Off), ..learnt(session()) };
    assert_eq!(at_device(&off, &packet), Reason::NotProtected);
}

#[test]
fn what_was_learnt_is_of_one_generation_and_runs_out() {
    let tag = Tag::of(ID, Protocol::Udp).opened();
    let made = |generation| Endpoint::new(&tag, address("192.0.2.10"), Port::new(60_001), generation);
    let violated = Violated::new(COOKIE, 5, NOW);
    assert_eq!(violated.cookie(), COOKIE);
    assert!(violated.is_still(&made(5), NOW));
    assert!(!violated.is_still(&made(6), NOW));
    assert!(violated.is_still(&made(5), NOW + 4_999_999_999));
    assert!(!violated.is_still(&made(5), NOW + 5_000_000_000));
}

#[test]
fn the_bits_of_a_port_lie_where_its_class_is_read() {
    for port in [0, 1, 7, 8, 60_001, u16::MAX] {
        let class = PortClass::violated(Protocol::Udp);
        let mut ports = agent_ebpf::Ports::none();
        ports.set(Port::new(port), class);
        let (at, bits) = agent_ebpf::Ports::word_of(Port::new(port), class);
        assert_eq!((at % 8, bits.count_ones()), (0, 1));
        let place = bits.to_ne_bytes().iter().position(|byte| *byte != 0).unwrap();
        assert_eq!(at + place, usize::from(port));
        assert!(ports.class(Port::new(port)).is_any(class));
    }
}
