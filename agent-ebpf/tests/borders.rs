//! Packets on the borders of what the parser takes for whole.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/lab/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the lab, of which the suite uses the rest")]
mod frames;

use std::net::SocketAddr;

use agent_ebpf::{Content, Layer, Packet, Protocol, Step};
use frames::{Extension, Frame};

/// Where the IPv4 header's total length, and behind IPv6's fixed header the first extension header begin in a packet.
const V4_TOTAL: usize = 2;
const V6_PAYLOAD: usize = 40;

fn ends(family: u8) -> (SocketAddr, SocketAddr) {
    let (source, destination) = if family == 4 {
        ("198.51.111.1:40000", "192.0.2.10:22")
    } else {
        ("[2001:db8:1::1]:40000", "[2001:db8::10]:22")
    };
    (source.parse().unwrap(), destination.parse().unwrap())
}

fn content(packet: &[u8]) -> Content {
    Packet::parse(packet, Layer::Ip).content()
}

/// The content of a packet without options and payload that claims this total length.
fn claiming(total: u16, protocol: u8) -> Content {
    let (source, destination) = ends(4);
    let mut packet = Frame { protocol, payload: Vec::new(), ..Frame::tcp(source, destination) }.ip();
    packet[V4_TOTAL..V4_TOTAL + 2].copy_from_slice(&total.to_be_bytes());
    content(&packet)
}

#[test]
fn an_ipv4_packet_may_claim_its_header_alone_but_not_less() {
    const ICMP: u8 = 1;
    assert_eq!(claiming(20, ICMP), Content::Portless);
    assert_eq!(claiming(19, ICMP), Content::NotIp);
    assert_eq!(claiming(20, 6), Content::Malformed);
}

#[test]
fn udp_behind_extension_headers_is_found() {
    let (source, destination) = ends(6);
    let frame = Frame { extensions: vec![Extension::HopByHop(1)], ..Frame::udp(source, destination) };
    let Content::Segment(segment) = content(&frame.ip()) else { panic!("{:?}", content(&frame.ip())) };
    assert_eq!((segment.protocol, segment.destination.number()), (Protocol::Udp, 22));
}

#[test]
fn a_first_fragment_is_judged_whatever_its_flags_and_reserved_bits_say() {
    let (source, destination) = ends(6);
    let frame = Frame { extensions: vec![Extension::Fragment(0)], ..Frame::tcp(source, destination) };
    let mut packet = frame.ip();
    packet[V6_PAYLOAD + 1] = 0xff;
    packet[V6_PAYLOAD + 3] = 0b0000_0111;
    assert!(matches!(content(&packet), Content::Segment(segment) if segment.destination.number() == 22));
    packet[V6_PAYLOAD + 3] |= 0b0000_1000;
    assert_eq!(content(&packet), Content::Fragment);
}

#[test]
fn data_that_looks_like_a_join_behind_a_header_without_options_is_data() {
    const LOOKS_LIKE_MP_JOIN: [u8; 12] = [30, 12, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (source, destination) = ends(4);
    let frame = Frame { payload: LOOKS_LIKE_MP_JOIN.to_vec(), ..Frame::syn(source, destination, &[]) };
    let bytes = frame.ip();
    let packet = Packet::parse(&bytes[..], Layer::Ip);
    let Content::Segment(segment) = packet.content() else { panic!("{:?}", packet.content()) };
    assert_eq!(packet.step(&segment), Step::Open);
    let join = Frame::syn(source, destination, &LOOKS_LIKE_MP_JOIN).ip();
    let packet = Packet::parse(&join[..], Layer::Ip);
    assert_eq!(packet.step(&segment), Step::Join);
}
