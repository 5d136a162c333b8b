//! The packet parser on hand-made frames: every header that it knows, cut at every byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/lab/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the lab, of which the suite uses the rest")]
mod frames;

use std::net::SocketAddr;

use agent_ebpf::{Address, Content, EXTENSION_HEADERS, Layer, Packet, Protocol};
use frames::{Extension, Frame};
use proptest::prelude::*;

fn ends(family: u8) -> (SocketAddr, SocketAddr) {
    match family {
        4 => ("198.51.111.1:40000".parse().unwrap(), "192.0.2.10:22".parse().unwrap()),
        _ => ("[2001:db8:1::1]:40000".parse().unwrap(), "[2001:db8::10]:22".parse().unwrap()),
    }
}

fn tcp(family: u8) -> Frame {
    let (source, destination) = ends(family);
    Frame::tcp(source, destination)
}

/// Asserts that the packet's addresses and ports are found.
#[track_caller]
fn assert_found(frame: &Frame, bytes: &[u8], layer: Layer) {
    let packet = Packet::parse(bytes, layer);
    let Content::Segment(segment) = packet.content() else { panic!("{:?} in {frame:?}", packet.content()) };
    assert_eq!(segment.protocol, Protocol::Tcp);
    assert_eq!(segment.source.number(), frame.source.port());
    assert_eq!(segment.destination.number(), frame.destination.port());
    assert_eq!(packet.source(), Address::from(frame.source.ip()));
    assert_eq!(packet.destination(), Address::from(frame.destination.ip()));
}

fn content(frame: &Frame) -> Content {
    let bytes = frame.ethernet();
    Packet::parse(&bytes[..], Layer::Ethernet).content()
}

#[test]
fn addresses_and_ports_are_found_in_either_family_behind_up_to_two_tags() {
    for family in [4, 6] {
        for tags in [vec![], vec![0x8100], vec![0x88a8], vec![0x88a8, 0x8100], vec![0x8100, 0x8100]] {
            let frame = Frame { tags, ..tcp(family) };
            assert_found(&frame, &frame.ethernet(), Layer::Ethernet);
        }
        assert_found(&tcp(family), &tcp(family).ip(), Layer::Ip);
    }
}

#[test]
fn behind_a_third_tag_nothing_is_read() {
    assert_eq!(content(&Frame { tags: vec![0x88a8, 0x8100, 0x8100], ..tcp(4) }), Content::NotIp);
}

#[test]
fn ipv4_options_are_skipped_whatever_their_length() {
    for option_words in 0..=10 {
        let frame = Frame { option_words, ..tcp(4) };
        assert_found(&frame, &frame.ethernet(), Layer::Ethernet);
    }
}

#[test]
fn every_extension_header_is_skipped_up_to_the_bound() {
    let kinds = [
        Extension::HopByHop(0),
        Extension::Routing(2),
        Extension::Destination(1),
        Extension::Authentication(1),
        Extension::Authentication(4),
        Extension::Fragment(0),
    ];
    for kind in kinds {
        for count in 0..=EXTENSION_HEADERS {
            let frame = Frame { extensions: vec![kind; count], ..tcp(6) };
            assert_found(&frame, &frame.ethernet(), Layer::Ethernet);
        }
        let frame = Frame { extensions: vec![kind; EXTENSION_HEADERS + 1], ..tcp(6) };
        assert_eq!(content(&frame), Content::Malformed, "{kind:?}");
    }
}

#[test]
fn the_longest_extension_headers_are_skipped() {
    let frame = Frame { extensions: vec![Extension::Destination(255); EXTENSION_HEADERS], ..tcp(6) };
    assert_found(&frame, &frame.ethernet(), Layer::Ethernet);
}

#[test]
fn later_fragments_of_either_family_are_told_from_first_ones() {
    assert_eq!(content(&Frame { fragment: 1, ..tcp(4) }), Content::Fragment);
    assert_eq!(content(&Frame { fragment: 0x3fff, ..tcp(4) }), Content::Fragment);
    assert!(matches!(content(&Frame { fragment: 0x2000, ..tcp(4) }), Content::Segment(_)));
    assert!(matches!(content(&Frame { fragment: 0x4000, ..tcp(4) }), Content::Segment(_)));
    assert_eq!(content(&Frame { extensions: vec![Extension::Fragment(1)], ..tcp(6) }), Content::Fragment);
}

#[test]
fn other_protocols_have_no_ports() {
    for protocol in [1, 2, 47, 50, 58, 59, 132, 255] {
        assert_eq!(content(&Frame { protocol, ..tcp(4) }), Content::Portless);
        assert_eq!(content(&Frame { protocol, ..tcp(6) }), Content::Portless);
    }
}

#[test]
fn a_frame_cut_at_any_byte_is_read_as_far_as_it_goes() {
    let v4 = Frame { option_words: 2, tags: vec![0x8100], ..tcp(4) };
    let v6 = Frame { extensions: vec![Extension::HopByHop(0), Extension::Fragment(0)], ..tcp(6) };
    for (frame, ip, transport) in [(v4, 18 + 20, 18 + 28), (v6, 14 + 40, 14 + 56)] {
        let bytes = frame.ethernet();
        for length in 0..=bytes.len() {
            let expected = match length {
                _ if length < ip => "NotIp",
                _ if length < transport + 4 => "Malformed",
                _ => "Segment",
            };
            let content = Packet::parse(&bytes[..length], Layer::Ethernet).content();
            assert!(format!("{content:?}").starts_with(expected), "{length}: {content:?}, not {expected}");
        }
    }
}

#[test]
fn padding_behind_the_claimed_length_is_not_read() {
    for family in [4, 6] {
        let mut bytes = Frame { padding: 20, ..tcp(family) }.ethernet();
        let (place, length): (_, u16) = if family == 4 { (16, 23) } else { (18, 3) };
        bytes[place..place + 2].copy_from_slice(&length.to_be_bytes());
        assert_eq!(Packet::parse(&bytes[..], Layer::Ethernet).content(), Content::Malformed);
        // A length of 0 means "to the end of the frame".
        bytes[place..place + 2].copy_from_slice(&[0, 0]);
        assert_found(&tcp(family), &bytes, Layer::Ethernet);
    }
}

#[test]
fn a_broken_ip_header_is_not_ip() {
    for (place, value) in [(14, 0x55), (14, 0x44), (14, 0x4f), (17, 19)] {
        let mut bytes = tcp(4).ethernet();
        bytes[place] = value;
        let content = Packet::parse(&bytes[..], Layer::Ethernet).content();
        // A header that claims to be longer than the packet has no ports; the others are no headers.
        assert!(matches!(content, Content::NotIp | Content::Malformed), "{place} {value:#x}: {content:?}");
    }
    let mut bytes = tcp(6).ethernet();
    bytes[14] = 0x40;
    assert_eq!(Packet::parse(&bytes[..], Layer::Ethernet).content(), Content::NotIp);
}

#[test]
fn a_bare_packet_is_known_by_its_version() {
    for bytes in [&[][..], &[0x45], &[0x50; 60], &[0x00; 60]] {
        assert_eq!(Packet::parse(bytes, Layer::Ip).content(), Content::NotIp);
    }
}

proptest! {
    #[test]
    fn no_bytes_whatever_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for layer in [Layer::Ethernet, Layer::Ip] {
            let packet = Packet::parse(&bytes[..], layer);
            let _addresses = (packet.source(), packet.destination());
            if let Content::Segment(segment) = packet.content() {
                let _step = packet.step(&segment);
            }
        }
    }
}
