//! The packet policy, reason by reason.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/lab/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the lab, of which the suite uses the rest")]
mod frames;
#[allow(missing_docs, unreachable_pub, reason = "a module of the suite as well")]
mod world;

use std::net::SocketAddr;

use agent_ebpf::{
    Flow, FlowKey, Home, Layer, Mode, Network, Node, Packet, Penalty, PortClass, Reason, Session, SessionId,
    SessionState, Verdict, verdict,
};
use frames::Frame;
use world::{World, address, alice, at, stranger};

const NOW: u64 = 1_000;
const ID: SessionId = SessionId::new(7);

fn sshd() -> SocketAddr {
    at("192.0.2.10:22")
}

fn pinned_to(text: &str) -> Session {
    Session::pinned(&[Network::host(address(text))])
}

/// A node in enforce mode with one session: alice's, pinned to her address.
fn node() -> World {
    World {
        ports: [(22, PortClass::TCP_LOGIN)].into(),
        local: [address("192.0.2.10"), address("2001:db8::10")].into(),
        flows: [(FlowKey::tcp(alice(), sshd()), Flow::of(ID, 1))].into(),
        sessions: [(ID, pinned_to("198.51.111.1"))].into(),
        ..World::enforcing(NOW)
    }
}

fn judge(world: &World, frame: &[u8]) -> Verdict {
    verdict(&Packet::parse(frame, Layer::Ethernet), world)
}

fn reason(world: &World, frame: &Frame) -> Reason {
    judge(world, &frame.ethernet()).reason
}

/// Alice's node with her session changed.
fn with(session: Session) -> World {
    World { sessions: [(ID, session)].into(), ..node() }
}

fn alices_packet() -> Frame {
    Frame::tcp(alice(), sshd())
}

#[test]
fn a_session_sends_from_its_pin() {
    assert_eq!(judge(&node(), &alices_packet().ethernet()).session, ID);
    assert_eq!(reason(&node(), &alices_packet()), Reason::Pinned);
}

#[test]
fn a_session_pinned_elsewhere_is_dropped() {
    assert_eq!(reason(&with(pinned_to("198.51.111.2")), &alices_packet()), Reason::AddressMismatch);
    assert_eq!(reason(&with(Session::pinned(&[])), &alices_packet()), Reason::AddressMismatch);
}

#[test]
fn any_of_eight_pins_admits_and_the_ninth_is_not_kept() {
    let others = |count: u8| (0..count).map(|last| Network::host(address(&format!("203.0.113.{last}"))));
    let own = Network::host(address("198.51.111.1"));
    for before in 0..8 {
        let pins: Vec<_> = others(before).chain([own]).chain(others(7 - before)).collect();
        assert_eq!(reason(&with(Session::pinned(&pins)), &alices_packet()), Reason::Pinned, "{before}");
    }
    let nine: Vec<_> = others(8).chain([own]).collect();
    assert_eq!(reason(&with(Session::pinned(&nine)), &alices_packet()), Reason::AddressMismatch);
}

#[test]
fn an_unpinned_session_sends_from_anywhere() {
    assert_eq!(reason(&with(Session::unpinned()), &alices_packet()), Reason::Pinned);
}

#[test]
fn a_session_ends_at_its_deadline_and_not_before() {
    let session = pinned_to("198.51.111.1");
    assert_eq!(reason(&with(session.with_deadline(NOW + 1)), &alices_packet()), Reason::Pinned);
    assert_eq!(reason(&with(session.with_deadline(NOW)), &alices_packet()), Reason::SessionExpired);
}

#[test]
fn a_session_without_a_deadline_does_not_even_ask_the_time() {
    let world = World { now: agent_ebpf::NEVER, ..node() };
    assert_eq!(reason(&world, &alices_packet()), Reason::Pinned);
}

#[test]
fn a_cut_session_is_dropped_whatever_else_is_wrong_with_it() {
    let session = pinned_to("198.51.111.2").with_deadline(NOW).with_state(SessionState::Cut);
    assert_eq!(reason(&with(session), &alices_packet()), Reason::SessionCut);
}

#[test]
fn a_flow_whose_session_is_missing_counts_as_cut() {
    let verdict = judge(&World { sessions: [].into(), ..node() }, &alices_packet().ethernet());
    assert_eq!((verdict.reason, verdict.session), (Reason::SessionCut, ID));
}

#[test]
fn a_connection_cut_before_it_had_a_session_is_dropped() {
    let flows = [(FlowKey::tcp(alice(), sshd()), Flow::cut(1))].into();
    assert_eq!(reason(&World { flows, ..node() }, &alices_packet()), Reason::SessionCut);
}

#[test]
fn a_strangers_connection_goes_on_to_sshd() {
    assert_eq!(reason(&node(), &Frame::syn(stranger(), sshd(), &[])), Reason::LoginAttempt);
    assert_eq!(reason(&node(), &Frame::tcp(at("198.51.111.1:40001"), sshd())), Reason::LoginAttempt);
}

#[test]
fn a_source_under_penalty_is_dropped_until_the_penalty_ends() {
    let under =
        |until| World { penalties: [(address("198.51.222.2"), Penalty::until(until))].into(), ..node() };
    let packet = Frame::syn(stranger(), sshd(), &[]);
    assert_eq!(reason(&under(NOW + 1), &packet), Reason::Penalty);
    assert_eq!(reason(&under(NOW), &packet), Reason::LoginAttempt);
}

#[test]
fn a_penalty_hits_the_whole_64_of_an_ipv6_source_and_never_a_live_session() {
    let mut world = node();
    world.penalties = [
        (address("2001:db8:1:2::"), Penalty::until(NOW + 1)),
        (address("198.51.111.1"), Penalty::until(NOW + 1)),
    ]
    .into();
    let from = |source: &str| Frame::syn(at(source), at("[2001:db8::10]:22"), &[]);
    assert_eq!(reason(&world, &from("[2001:db8:1:2:3:4:5:6]:50000")), Reason::Penalty);
    assert_eq!(reason(&world, &from("[2001:db8:1:3::1]:50000")), Reason::LoginAttempt);
    assert_eq!(reason(&world, &alices_packet()), Reason::Pinned);
}

#[test]
fn a_multipath_join_to_a_login_port_is_dropped() {
    let join = [30, 12, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let behind_others = [&[2, 4, 5, 0xb4, 1, 1, 4, 2][..], &join].concat();
    let capable = [30, 4, 0x01, 0];
    for (options, expected) in [
        (&join[..], Reason::MptcpJoin),
        (&behind_others, Reason::MptcpJoin),
        (&capable, Reason::LoginAttempt),
        (&[0, 30, 12, 0x10], Reason::LoginAttempt),
        (&[30, 1, 0x10, 0], Reason::LoginAttempt),
        (&[1, 30, 12, 0x10], Reason::MptcpJoin),
        (&[1, 1, 30, 12], Reason::LoginAttempt),
        (&[2, 0, 30, 12, 0x10, 0, 0, 0], Reason::LoginAttempt),
        (&[2, 255, 30, 12, 0x10, 0, 0, 0], Reason::LoginAttempt),
    ] {
        assert_eq!(reason(&node(), &Frame::syn(stranger(), sshd(), options)), expected, "{options:?}");
    }
    for flags in [frames::SYN | frames::ACK, frames::ACK] {
        let later = Frame { flags, ..Frame::syn(stranger(), sshd(), &join) };
        assert_eq!(reason(&node(), &later), Reason::LoginAttempt, "{flags:#x}");
    }
}

#[test]
fn a_penalty_is_no_business_of_connections_that_are_open_already() {
    let penalties = [(address("198.51.222.2"), Penalty::until(NOW + 1))].into();
    let world = World { penalties, ..node() };
    const FIN: u8 = 0x01;
    for (flags, expected) in [
        (frames::SYN, Reason::Penalty),
        (frames::SYN | FIN, Reason::Penalty),
        (frames::SYN | frames::ACK, Reason::LoginAttempt),
        (frames::ACK, Reason::LoginAttempt),
        (FIN | frames::ACK, Reason::LoginAttempt),
        (0, Reason::LoginAttempt),
    ] {
        let frame = Frame { flags, ..Frame::tcp(stranger(), sshd()) };
        assert_eq!(reason(&world, &frame), expected, "{flags:#x}");
    }
}

#[test]
fn a_new_connection_whose_tcp_header_is_cut_off_is_malformed() {
    const TCP: usize = 14 + 20;
    let judged = |frame: &Frame, length: usize| judge(&node(), &frame.ethernet()[..TCP + length]).reason;
    let syn = Frame::syn(stranger(), sshd(), &[2, 4, 5, 0xb4]);
    for length in 4..24 {
        assert_eq!(judged(&syn, length), Reason::Malformed, "{length}");
    }
    assert_eq!(judged(&syn, 24), Reason::LoginAttempt);

    // The flags of anything else are all that need be there, and of a known flow not even those.
    let later = Frame::tcp(stranger(), sshd());
    assert_eq!((judged(&later, 13), judged(&later, 14)), (Reason::Malformed, Reason::LoginAttempt));
    assert_eq!(judged(&alices_packet(), 4), Reason::Pinned);

    // A first fragment in pieces this small would bring flags and options unseen.
    let first = Frame { fragment: 0x2000, ..syn.clone() };
    assert_eq!((judged(&first, 8), judged(&first, 24)), (Reason::Malformed, Reason::LoginAttempt));
    let mut short = syn.ethernet();
    short[TCP + 12] = 4 << 4;
    assert_eq!(judge(&node(), &short).reason, Reason::Malformed);
}

#[test]
fn forwarded_traffic_passes_also_to_port_22() {
    assert_eq!(reason(&node(), &Frame::syn(stranger(), at("10.0.0.5:22"), &[])), Reason::NotLocal);
}

#[test]
fn other_ports_and_udp_to_port_22_are_not_protected() {
    assert_eq!(reason(&node(), &Frame::tcp(stranger(), at("192.0.2.10:443"))), Reason::NotProtected);
    assert_eq!(reason(&node(), &Frame::udp(stranger(), sshd())), Reason::NotProtected);
    assert_eq!(reason(&node(), &Frame { protocol: 1, ..alices_packet() }), Reason::NotProtected);
}

#[test]
fn whoever_is_never_dropped_passes_where_others_are_dropped() {
    let never_drop = vec![Network::new(address("198.51.111.0"), 24)];
    let world = World { never_drop, ..with(pinned_to("203.0.113.9")) };
    let verdict = judge(&world, &alices_packet().ethernet());
    assert_eq!((verdict.reason, verdict.overruled), (Reason::NeverDrop, None));
    let pinned = World { sessions: node().sessions, ..world };
    assert_eq!(reason(&pinned, &alices_packet()), Reason::Pinned);
}

#[test]
fn what_is_known_at_once_counts_and_the_rest_is_asked_for() {
    let never_drop = vec![Network::new(address("198.51.111.0"), 24)];
    let world = World { never_drop, local: [].into(), ..with(pinned_to("203.0.113.9")) };
    let knowing = |home| World { home, ..world.clone() };
    let syn = Frame::syn(stranger(), sshd(), &[]);
    let spares_nobody = knowing(Home::unknown().sparing_nobody(true));
    assert_eq!(reason(&spares_nobody, &alices_packet()), Reason::AddressMismatch);
    assert_eq!(reason(&spares_nobody, &syn), Reason::NotLocal);
    let is_off = knowing(Home::unknown().with_node(Node::in_mode(Mode::Off)));
    assert_eq!(reason(&is_off, &alices_packet()), Reason::NotProtected);
    let has_address = knowing(Home::unknown().with_addresses(&[address("192.0.2.10")]));
    assert_eq!(reason(&has_address, &syn), Reason::LoginAttempt);
    assert_eq!(reason(&has_address, &alices_packet()), Reason::NeverDrop);
}

#[test]
fn audit_lets_pass_and_says_what_it_overruled() {
    let cut = pinned_to("198.51.111.1").with_state(SessionState::Cut);
    let world = World { node: Node::in_mode(Mode::Audit), ..with(cut) };
    let verdict = judge(&world, &alices_packet().ethernet());
    assert_eq!((verdict.reason, verdict.overruled), (Reason::Audit, Some(Reason::SessionCut)));
    assert_eq!(verdict.session, ID);
}

#[test]
fn the_weaker_of_the_nodes_and_the_sessions_mode_counts() {
    let session = pinned_to("198.51.111.2");
    for (node_mode, session_mode, expected) in [
        (Mode::Enforce, Mode::Enforce, Reason::AddressMismatch),
        (Mode::Enforce, Mode::Audit, Reason::Audit),
        (Mode::Audit, Mode::Enforce, Reason::Audit),
        (Mode::Enforce, Mode::Off, Reason::NotProtected),
        (Mode::Audit, Mode::Off, Reason::NotProtected),
        (Mode::Off, Mode::Enforce, Reason::NotProtected),
    ] {
        let world = World { node: Node::in_mode(node_mode), ..with(session.with_mode(session_mode)) };
        assert_eq!(reason(&world, &alices_packet()), expected, "{node_mode:?} {session_mode:?}");
    }
}

#[test]
fn an_unconfirmed_mode_goes_back_at_its_time() {
    let unconfirmed =
        |at| World { node: Node::until(Mode::Enforce, at, Mode::Audit), ..with(pinned_to("10.0.0.1")) };
    assert_eq!(reason(&unconfirmed(NOW + 1), &alices_packet()), Reason::AddressMismatch);
    assert_eq!(reason(&unconfirmed(NOW), &alices_packet()), Reason::Audit);
}

#[test]
fn ports_that_cannot_be_read_are_malformed_only_in_packets_for_the_node() {
    let cut_off = |frame: &Frame| frame.ethernet()[..14 + 20 + 3].to_vec();
    assert_eq!(judge(&node(), &cut_off(&alices_packet())).reason, Reason::Malformed);
    assert_eq!(judge(&node(), &cut_off(&Frame::udp(alice(), sshd()))).reason, Reason::Malformed);
    let through = Frame::tcp(alice(), at("10.0.0.5:22"));
    assert_eq!(judge(&node(), &cut_off(&through)).reason, Reason::NotLocal);
    let audit = World { node: Node::in_mode(Mode::Audit), ..node() };
    assert_eq!(judge(&audit, &cut_off(&alices_packet())).overruled, Some(Reason::Malformed));
}

#[test]
fn a_later_fragment_passes_and_the_first_is_judged() {
    assert_eq!(reason(&node(), &Frame { fragment: 1, ..alices_packet() }), Reason::Fragment);
    let first = Frame { fragment: 0x2000, ..alices_packet() };
    assert_eq!(reason(&with(pinned_to("10.0.0.1")), &first), Reason::AddressMismatch);
}

#[test]
fn what_is_not_ip_passes() {
    for frame in [&[][..], &[0; 13], &[0; 60], &[0xff; 60]] {
        assert_eq!(judge(&node(), frame).reason, Reason::NotIp);
    }
}

#[test]
fn a_node_that_is_off_or_unknown_protects_nothing() {
    let off = World { node: Node::in_mode(Mode::Off), ..with(pinned_to("10.0.0.1")) };
    assert_eq!(reason(&off, &alices_packet()), Reason::NotProtected);
}
