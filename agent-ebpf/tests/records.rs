//! The records of the maps: what goes in comes out again, and is shown as people know it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/lab/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the lab, of which the suite uses the rest")]
mod frames;

use std::net::{IpAddr, SocketAddr};

use agent_ebpf::{
    Action, Address, DETAILS_CAPACITY, Drops, Event, Layer, Mode, NEVER, Network, Node, Packet, Port,
    PortClass, Ports, Reason, SessionId, Verdict,
};
use frames::Frame;

fn address(text: &str) -> Address {
    Address::from(text.parse::<IpAddr>().unwrap())
}

fn event(verdict: &Verdict) -> Event {
    let from: SocketAddr = "[2001:db8::1]:40000".parse().unwrap();
    let to: SocketAddr = "[2001:db8::10]:22".parse().unwrap();
    let bytes = Frame::tcp(from, to).ethernet();
    Event::new(5, &Packet::parse(&bytes[..], Layer::Ethernet), verdict.session, verdict.number(), 3)
}

#[test]
fn an_address_gives_back_its_octets() {
    let octets = [0x20, 1, 0xd, 0xb8, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    assert_eq!(Address::new(octets).octets(), octets);
    assert_eq!(address("192.0.2.1").octets(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]);
}

#[test]
fn addresses_are_ordered_as_numbers_and_shown_as_people_write_them() {
    let mut addresses = ["ffff::", "192.0.2.1", "::ff", "2001:db8::2", "2001:db8::10"].map(address);
    addresses.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert_eq!(
        addresses.map(|address| address.to_string()),
        ["::ff", "192.0.2.1", "2001:db8::2", "2001:db8::10", "ffff::"]
    );
    assert_eq!(format!("{:?}", address("192.0.2.1")), "192.0.2.1");
}

#[test]
fn a_host_differs_from_an_address_that_differs_in_both_halves_by_the_same_bits() {
    assert!(!Network::host(address("2001::")).contains(address("2001::1:0:0:0")));
    assert!(!Network::host(address("2001::")).contains(address("2001:0:0:1::1")));
}

#[test]
fn the_bits_of_an_ipv4_network_count_those_of_the_mapping() {
    assert_eq!(Network::new(address("10.0.0.0"), 8).bits(), 104);
    assert_eq!(Network::new(address("2001:db8::"), 32).bits(), 32);
}

#[test]
fn a_port_gives_back_its_octets_and_is_shown_as_a_number() {
    let port = Port::from_octets([0x1f, 0x90]);
    assert_eq!((port.octets(), port.number()), ([0x1f, 0x90], 8080));
    assert_eq!(format!("{port:?}"), "8080");
}

#[test]
fn a_port_has_the_class_that_it_was_given_and_only_such_ports_are_shown() {
    let mut ports = Ports::none();
    assert_eq!(format!("{ports:?}"), "{}");
    ports.set(Port::new(22), PortClass::TCP_LOGIN);
    assert_eq!(ports.class(Port::new(22)), PortClass::TCP_LOGIN);
    assert_eq!(ports.class(Port::new(23)), PortClass::NONE);
    assert_eq!(format!("{ports:?}"), format!("{{22: {:?}}}", PortClass::TCP_LOGIN));
}

#[test]
fn a_session_is_named_by_sixteen_digits() {
    let id = SessionId::new(0xabc);
    assert_eq!(id.number(), 0xabc);
    assert_eq!(id.to_string(), "0000000000000abc");
    assert_eq!(format!("{id:?}"), "0000000000000abc");
}

#[test]
fn a_node_tells_when_it_goes_back_to_which_mode() {
    assert_eq!(Node::until(Mode::Enforce, 9, Mode::Audit).fallback(), Some((9, Mode::Audit)));
    assert_eq!(Node::until(Mode::Enforce, NEVER, Mode::Audit).fallback(), None);
    assert_eq!(Node::in_mode(Mode::Enforce).fallback(), None);
}

#[test]
fn modes_and_actions_have_the_names_that_are_typed_and_listed() {
    assert_eq!([Mode::Off, Mode::Audit, Mode::Enforce].map(Mode::name), ["off", "audit", "enforce"]);
    assert_eq!([Action::Pass, Action::Drop].map(Action::name), ["pass", "drop"]);
}

#[test]
fn every_reason_has_two_counters_of_its_own() {
    for (index, reason) in (0..).zip(Reason::ALL) {
        assert_eq!(reason.counter(), index);
        assert_eq!(reason.overruled_counter(), Reason::ROOM + index);
    }
}

#[test]
fn drops_are_counted_in_two_words_and_none_is_no_time() {
    assert_eq!((Drops::count_at(false), Drops::count_at(true)), (0, 8));
    let mut drops = Drops::none();
    drops.seen(7);
    assert_eq!((drops.dropped(), drops.overruled()), (0, 0));
    assert_eq!((drops.first(), drops.last()), (None, None), "nothing was counted yet");
}

#[test]
fn a_record_of_details_takes_two_kilobytes() {
    assert_eq!(DETAILS_CAPACITY + size_of::<u32>(), 2048);
}

#[test]
fn an_event_tells_what_was_said_of_which_packet() {
    let id = SessionId::new(7);
    let dropped = event(&Verdict { reason: Reason::SessionCut, overruled: None, session: id });
    assert_eq!((dropped.time(), dropped.interface(), dropped.protocol()), (5, 3, 6));
    assert_eq!(dropped.session(), Some(id));
    assert_eq!(dropped.source().to_string(), "[2001:db8::1]:40000");
    assert_eq!(dropped.destination().to_string(), "[2001:db8::10]:22");
    assert_eq!((dropped.reason(), dropped.overruled()), (Some(Reason::SessionCut), None));
    assert_eq!(dropped.action(), Action::Drop);
}

#[test]
fn an_event_tells_what_audit_let_pass() {
    let verdict =
        Verdict { reason: Reason::Audit, overruled: Some(Reason::Penalty), session: SessionId::NONE };
    let passed = event(&verdict);
    assert_eq!(passed.session(), None);
    assert_eq!((passed.reason(), passed.overruled()), (Some(Reason::Audit), Some(Reason::Penalty)));
    assert_eq!(passed.action(), Action::Pass);
    let shown = format!("{passed:?}");
    assert!(shown.contains("overruled: Some(Penalty)") && shown.contains("[2001:db8::1]:40000"), "{shown}");
}
