//! The PROXY protocol's header, versions 1 and 2: what a balancer says of whom it forwards (HAProxy's
//! `doc/proxy-protocol.txt`, 2020/03/05).
//!
//! Strict where the text of the protocol is: what is not a header in full is an error at its first wrong byte. Whether
//! the sender may be believed is the caller's to know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Address;

/// The longest header of version 1, CRLF included.
const LONGEST_LINE: usize = 107;
/// The fixed part of version 2.
const FIXED: usize = 16;
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// A header, and how many bytes it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The version: 1 or 2.
    pub version: u8,
    /// Whom the sender forwards.
    pub client: ProxiedClient,
    /// The header's length in bytes; the client's own data begins behind it.
    pub length: usize,
}

/// Whom a header is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxiedClient {
    /// A client at this address and port.
    At(Address, u16),
    /// A client whose address the sender does not tell (`UNKNOWN`, or a family other than IP over a stream).
    Unknown,
    /// Nobody: the sender speaks for itself, to see whether somebody is here (`LOCAL`).
    Itself,
}

/// Bytes that are no header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// They begin unlike any version.
    #[error("no PROXY protocol header")]
    NotAHeader,
    /// A line of version 1 has no end within 107 bytes, or holds what it must not.
    #[error("malformed PROXY protocol header, version 1")]
    BadLine,
    /// The fixed part of version 2 names a version, command or family that there is not.
    #[error("PROXY protocol header of version 2 with an unknown version, command or family")]
    BadKind,
    /// Version 2's addresses or further fields do not fit its length.
    #[error("PROXY protocol header of version 2 whose parts do not fit its length")]
    BadLength,
}

impl ProxyHeader {
    /// Longest header that is read, in bytes: room for all further fields that balancers are known to send.
    pub const LONGEST: usize = 4096;

    /// Reads the header at the beginning of `bytes`; `None` as long as it may be one but is not complete.
    ///
    /// # Errors
    /// See [`ProxyHeaderError`]. Never waits for more than [`ProxyHeader::LONGEST`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, ProxyHeaderError> {
        if begins(bytes, &SIGNATURE) {
            return if bytes.len() < FIXED { Ok(None) } else { binary(bytes) };
        }
        if begins(bytes, b"PROXY ") {
            return line(bytes);
        }
        Err(ProxyHeaderError::NotAHeader)
    }
}

/// Whether bytes begin like `expected`, as far as they go.
fn begins(bytes: &[u8], expected: &[u8]) -> bool {
    bytes.iter().zip(expected).all(|(one, other)| one == other)
}

fn line(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let within = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LONGEST_LINE { Ok(None) } else { Err(ProxyHeaderError::BadLine) };
    };
    let text = std::str::from_utf8(&within[..end]).map_err(|_not_text| ProxyHeaderError::BadLine)?;
    let client = forwarded(text).ok_or(ProxyHeaderError::BadLine)?;
    Ok(Some(ProxyHeader { version: 1, client, length: end + 2 }))
}

/// Whom a line without its end is about.
fn forwarded(line: &str) -> Option<ProxiedClient> {
    let fields: Vec<&str> = line.split(' ').collect();
    let (source, target): (IpAddr, IpAddr) = match fields[..] {
        // What follows must be ignored.
        ["PROXY", "UNKNOWN", ..] => return Some(ProxiedClient::Unknown),
        ["PROXY", "TCP4", source, target, _, _] => {
            (source.parse::<Ipv4Addr>().ok()?.into(), target.parse::<Ipv4Addr>().ok()?.into())
        }
        ["PROXY", "TCP6", source, target, _, _] => {
            (source.parse::<Ipv6Addr>().ok()?.into(), target.parse::<Ipv6Addr>().ok()?.into())
        }
        _ => return None,
    };
    debug_assert_eq!(source.is_ipv4(), target.is_ipv4());
    let (source_port, _target_port) = port(fields[4]).zip(port(fields[5]))?;
    Some(ProxiedClient::At(source.into(), source_port))
}

/// Digits without a leading zero, at most 65535.
fn port(text: &str) -> Option<u16> {
    text.parse::<u16>().ok().filter(|port| port.to_string() == text)
}

fn binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let length = FIXED + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let addresses = match bytes[12] {
        // Of one who speaks for themselves everything else is ignored, the family too.
        0x20 => None,
        0x21 => Some(addresses_length(bytes[13]).ok_or(ProxyHeaderError::BadKind)?),
        _ => return Err(ProxyHeaderError::BadKind),
    };
    if length > ProxyHeader::LONGEST {
        return Err(ProxyHeaderError::BadLength);
    }
    let Some(payload) = bytes.get(FIXED..length) else { return Ok(None) };
    let Some(addresses) = addresses else {
        return Ok(Some(ProxyHeader { version: 2, client: ProxiedClient::Itself, length }));
    };
    let (addresses, fields) = payload.split_at_checked(addresses).ok_or(ProxyHeaderError::BadLength)?;
    let client = match (bytes[13], addresses) {
        (TCP4, [a, b, c, d, _, _, _, _, high, low, ..]) => {
            ProxiedClient::At(IpAddr::from([*a, *b, *c, *d]).into(), u16::from_be_bytes([*high, *low]))
        }
        (TCP6, addresses) => match (addresses.first_chunk::<16>(), addresses.get(32..34)) {
            (Some(source), Some([high, low])) => {
                ProxiedClient::At(IpAddr::from(*source).into(), u16::from_be_bytes([*high, *low]))
            }
            _ => return Err(ProxyHeaderError::BadLength),
        },
        _ => ProxiedClient::Unknown,
    };
    // Of an unspecified family nothing is known of the rest.
    if bytes[13] != UNSPECIFIED && !are_fields(fields) {
        return Err(ProxyHeaderError::BadLength);
    }
    Ok(Some(ProxyHeader { version: 2, client, length }))
}

const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// How many bytes of addresses and ports belong to a family and protocol that there is.
fn addresses_length(kind: u8) -> Option<usize> {
    match kind {
        UNSPECIFIED => Some(0),
        TCP4 | 0x12 => Some(2 * 4 + 2 * 2),
        TCP6 | 0x22 => Some(2 * 16 + 2 * 2),
        0x31 | 0x32 => Some(2 * 108),
        _ => None,
    }
}

/// Whether bytes are fields of a type (one byte), a length (two), and as many bytes, one behind the other.
fn are_fields(mut bytes: &[u8]) -> bool {
    while let [_kind, high, low, rest @ ..] = bytes {
        let Some(left) = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..) else { return false };
        bytes = left;
    }
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(address: &str, port: u16) -> ProxiedClient {
        ProxiedClient::At(address.parse().unwrap(), port)
    }

    fn client(bytes: &[u8]) -> ProxiedClient {
        ProxyHeader::parse(bytes).unwrap().unwrap().client
    }

    /// A header of version 2.
    fn v2(command: u8, kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, kind], &length, payload].concat()
    }

    const V4: [u8; 12] = [198, 51, 111, 1, 192, 0, 2, 1, 0x9c, 0x40, 0x01, 0xbb];

    #[test]
    fn lines_of_version_1_tell_the_client() {
        let line = b"PROXY TCP4 198.51.111.1 192.0.2.1 40000 443\r\nGET / HTTP/1.1";
        let header = ProxyHeader::parse(line).unwrap().unwrap();
        assert_eq!(header, ProxyHeader { version: 1, client: at("198.51.111.1", 40_000), length: 45 });
        assert_eq!(client(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"), at("2001:db8::1", 1));
        assert_eq!(client(b"PROXY TCP6 ::ffff:198.51.111.1 ::1 1 2\r\n"), at("198.51.111.1", 1));
        assert_eq!(client(b"PROXY UNKNOWN\r\n"), ProxiedClient::Unknown);
        assert_eq!(client(b"PROXY UNKNOWN ffff:: fe80:: what ever\r\n"), ProxiedClient::Unknown);
    }

    #[test]
    fn lines_that_are_not_quite_right_are_errors() {
        for line in [
            "PROXY TCP4 2001:db8::1 192.0.2.1 1 2\r\n",
            "PROXY TCP4 198.51.111.1 2001:db8::1 1 2\r\n",
            "PROXY TCP6 198.51.111.1 192.0.2.1 1 2\r\n",
            "PROXY TCP4 198.51.111.1 192.0.2.1 1\r\n",
            "PROXY TCP4 198.51.111.1 192.0.2.1 1 2 3\r\n",
            "PROXY TCP4  198.51.111.1 192.0.2.1 1 2\r\n",
            "PROXY TCP4 198.51.111.1 192.0.2.1 1 65536\r\n",
            "PROXY TCP4 198.51.111.1 192.0.2.1 01 2\r\n",
            "PROXY TCP4 198.51.111.1 192.0.2.1 +1 2\r\n",
            "PROXY TCP4 198.51.111.01 192.0.2.1 1 2\r\n",
            "PROXY TCP4 localhost 192.0.2.1 1 2\r\n",
            "PROXY UDP4 198.51.111.1 192.0.2.1 1 2\r\n",
            "PROXY \r\n",
            "PROXY TCP4 198.51.111.1 192.0.2.1 1 2\n\r\n",
        ] {
            assert_eq!(ProxyHeader::parse(line.as_bytes()), Err(ProxyHeaderError::BadLine), "{line:?}");
        }
        assert_eq!(ProxyHeader::parse(b"PROXY \xff\r\n"), Err(ProxyHeaderError::BadLine));
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
        assert_eq!(ProxyHeader::parse(&endless[..106]), Ok(None));
        assert_eq!(ProxyHeader::parse(&endless), Err(ProxyHeaderError::BadLine));
    }

    #[test]
    fn anything_else_is_refused_at_its_first_wrong_byte() {
        for bytes in [&b"G"[..], b"PROXy", b"PROXY\t", b"\r\n\r\n\0\r\nQUIT ", b"\x16\x03\x01"] {
            assert_eq!(ProxyHeader::parse(bytes), Err(ProxyHeaderError::NotAHeader), "{bytes:?}");
        }
    }

    #[test]
    fn version_2_tells_the_client() {
        let header = v2(0x21, 0x11, &V4);
        let expected = ProxyHeader { version: 2, client: at("198.51.111.1", 40_000), length: 28 };
        assert_eq!(ProxyHeader::parse(&header), Ok(Some(expected)));
        let mut addresses = [0; 36];
        addresses[..2].copy_from_slice(&[0x20, 0x01]);
        addresses[15] = 7;
        addresses[33] = 9;
        assert_eq!(client(&v2(0x21, 0x21, &addresses)), at("2001::7", 9));
        assert_eq!(client(&v2(0x20, 0x00, b"")), ProxiedClient::Itself);
        assert_eq!(client(&v2(0x20, 0x11, &V4)), ProxiedClient::Itself);
        assert_eq!(client(&v2(0x20, 0xff, b"what ever")), ProxiedClient::Itself);
        assert_eq!(client(&v2(0x21, 0x00, b"what ever")), ProxiedClient::Unknown);
        assert_eq!(client(&v2(0x21, 0x12, &V4)), ProxiedClient::Unknown);
        assert_eq!(client(&v2(0x21, 0x31, &[0; 216])), ProxiedClient::Unknown);
    }

    #[test]
    fn further_fields_are_passed_over_if_they_fit() {
        let with = |fields: &[u8]| v2(0x21, 0x11, &[&V4, fields].concat());
        let header = with(b"\x02\x00\x03abc\x04\x00\x00");
        assert_eq!(ProxyHeader::parse(&header).unwrap().unwrap().length, header.len());
        for fields in [&b"\x02"[..], b"\x02\x00", b"\x02\x00\x04abc"] {
            assert_eq!(ProxyHeader::parse(&with(fields)), Err(ProxyHeaderError::BadLength), "{fields:?}");
        }
    }

    #[test]
    fn version_2_that_does_not_add_up_is_an_error() {
        for (command, kind) in [(0x11, 0x11), (0x22, 0x11), (0x21, 0x13), (0x21, 0x41), (0x21, 0x01)] {
            let header = v2(command, kind, &V4);
            assert_eq!(ProxyHeader::parse(&header), Err(ProxyHeaderError::BadKind), "{command:#x} {kind:#x}");
        }
        assert_eq!(ProxyHeader::parse(&v2(0x21, 0x11, &V4[..11])), Err(ProxyHeaderError::BadLength));
        assert_eq!(ProxyHeader::parse(&v2(0x21, 0x21, &V4)), Err(ProxyHeaderError::BadLength));
        let endless = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        assert_eq!(ProxyHeader::parse(&endless), Err(ProxyHeaderError::BadLength));
    }

    proptest! {
        #[test]
        fn a_header_in_pieces_is_none_until_it_is_there(cut in 0usize..45) {
            let whole = b"PROXY TCP4 198.51.111.1 192.0.2.1 40000 443\r\n";
            prop_assert_eq!(ProxyHeader::parse(&whole[..cut]), Ok(None));
            let whole = v2(0x21, 0x11, &[&V4[..], &[0x04, 0x00, 0x0e], &[0; 14]].concat());
            prop_assert_eq!(ProxyHeader::parse(&whole[..cut.min(whole.len() - 1)]), Ok(None));
        }

        #[test]
        fn whatever_comes_a_header_is_within_it(bytes in prop::collection::vec(any::<u8>(), 0..300), v2 in any::<bool>()) {
            let begin = if v2 { &SIGNATURE[..] } else { b"PROXY TCP4 " };
            if let Ok(Some(header)) = ProxyHeader::parse(&[begin, &bytes].concat()) {
                prop_assert!(header.length <= begin.len() + bytes.len());
            }
        }
    }
}
