//! The PROXY protocol's header: in however many pieces it comes, it is read to the same end, and never beyond it.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use pinning::{Address, ProxiedClient, ProxyHeader};

fuzz_target!(|bytes: &[u8]| {
    let whole = ProxyHeader::parse(bytes);
    // What is said first, as byte after byte comes, is what is said of all of them.
    let first = (0..=bytes.len()).map(|len| ProxyHeader::parse(&bytes[..len])).find(|said| *said != Ok(None));
    assert_eq!(first.unwrap_or(Ok(None)), whole);
    match whole {
        Ok(Some(header)) => require_sound(bytes, &header),
        Ok(None) => assert!(bytes.len() < ProxyHeader::LONGEST, "it is waited for without end"),
        Err(_) => {}
    }
});

fn require_sound(bytes: &[u8], header: &ProxyHeader) {
    let own = &bytes[..header.length];
    assert_eq!(ProxyHeader::parse(own), Ok(Some(*header)), "what follows has a say in it");
    match header.version {
        1 => assert!(own.ends_with(b"\r\n") && own.len() <= 107),
        2 => assert_eq!(header.length, 16 + usize::from(u16::from_be_bytes([own[14], own[15]]))),
        other => panic!("version {other}"),
    }
    if let ProxiedClient::At(address, _port) = header.client {
        fuzz::require_canonical(address);
        assert_eq!(stated(own, header.version), address);
    }
}

/// The source that a header states, read another way.
fn stated(own: &[u8], version: u8) -> Address {
    let ip: IpAddr = if version == 1 {
        let line = std::str::from_utf8(own).expect("text");
        line.split_ascii_whitespace().nth(2).and_then(|text| text.parse().ok()).expect("an address")
    } else if own[13] == 0x11 {
        own[16..].first_chunk::<4>().copied().expect("IPv4").into()
    } else {
        own[16..].first_chunk::<16>().copied().expect("IPv6").into()
    };
    ip.into()
}
