//! `X-Forwarded-For`: who a chain of proxies says the client is.
//!
//! No RFC defines it; RFC 7239, section 5.2, describes what is in use. Each proxy appends the address that it was
//! connected from, so the list is worth as much as its last entries: those that trusted hops have written.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::Address;

/// Longest list, in bytes over all lines.
const LONGEST: usize = 4096;

/// A list that is not one of addresses, each perhaps with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForwardedForError {
    /// An entry is no address.
    #[error("entry {entry} of X-Forwarded-For is no address")]
    BadEntry {
        /// Which, from 1, from the left.
        entry: usize,
    },
    /// It is too long.
    #[error("X-Forwarded-For is longer than 4096 bytes")]
    TooLong,
}

/// The client: the last entry that no trusted hop stands behind. `None` if there are no lines, or all entries are trusted
/// hops: then nobody vouches for any address.
///
/// `lines` are the values of all header lines of that name, in order: together they are one list. The sender of the
/// request itself must be trusted; that is the caller's to know.
///
/// # Errors
/// See [`ForwardedForError`]; also for entries that do not matter, since who writes such lists is not to be trusted.
pub fn forwarded_for<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    is_trusted: impl Fn(Address) -> bool,
) -> Result<Option<Address>, ForwardedForError> {
    let (mut entries, mut length) = (Vec::new(), 0);
    for line in lines {
        length += line.len() + 1;
        if length > LONGEST {
            return Err(ForwardedForError::TooLong);
        }
        for text in line.split(|byte| *byte == b',') {
            let bad = ForwardedForError::BadEntry { entry: entries.len() + 1 };
            entries.push(entry(text).ok_or(bad)?);
        }
    }
    Ok(entries.into_iter().rev().find(|address| !is_trusted(*address)))
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:443`, with blanks around it.
fn entry(text: &[u8]) -> Option<Address> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    // A zone means something only to whoever wrote it.
    if text.contains('%') {
        return None;
    }
    if let Some(bare) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return bare.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::from(v6).into());
    }
    text.parse::<IpAddr>().map(Address::from).or_else(|_| text.parse::<SocketAddr>().map(Address::from)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted(address: Address) -> bool {
        address.to_string().starts_with("10.") || address.to_string().starts_with("2001:db8:1:")
    }

    fn client(lines: &[&str]) -> Result<Option<String>, ForwardedForError> {
        let lines = lines.iter().map(|line| line.as_bytes());
        forwarded_for(lines, trusted).map(|client| client.map(|address| address.to_string()))
    }

    #[test]
    fn the_first_from_the_right_that_is_not_trusted_is_the_client() {
        for (lines, expected) in [
            (&["198.51.111.1"][..], "198.51.111.1"),
            (&["203.0.113.7, 198.51.111.1"], "198.51.111.1"),
            (&["203.0.113.7, 198.51.111.1, 10.0.0.1,10.0.0.2"], "198.51.111.1"),
            (&["10.0.0.9, 198.51.111.1"], "198.51.111.1"),
            (&["203.0.113.7", "198.51.111.1", "10.0.0.1"], "198.51.111.1"),
            (&["2001:db8::1, 2001:db8:1::2"], "2001:db8::1"),
            (&["::ffff:198.51.111.1, ::ffff:10.0.0.1"], "198.51.111.1"),
        ] {
            assert_eq!(client(lines), Ok(Some(expected.to_owned())), "{lines:?}");
        }
    }

    #[test]
    fn ports_and_brackets_are_dropped() {
        for (line, expected) in [
            ("198.51.111.1:40000", "198.51.111.1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\t198.51.111.1 ", "198.51.111.1"),
        ] {
            assert_eq!(client(&[line]), Ok(Some(expected.to_owned())), "{line:?}");
        }
    }

    #[test]
    fn nobody_vouches_for_the_client_of_no_list_or_of_trusted_hops_alone() {
        assert_eq!(client(&[]), Ok(None));
        assert_eq!(client(&["10.0.0.1, 10.0.0.2"]), Ok(None));
    }

    #[test]
    fn an_entry_that_is_no_address_spoils_the_list_wherever_it_stands() {
        for (line, entry) in [
            ("", 1),
            ("unknown, 198.51.111.1", 1),
            ("198.51.111.1,", 2),
            ("198.51.111.1,,10.0.0.1", 2),
            ("_hidden", 1),
            ("198.51.111.1, 10.0.0.1, 10.0.0.256", 3),
            ("fe80::1%eth0", 1),
            ("[fe80::1%1]:22", 1),
            ("[198.51.111.1]", 1),
            ("198.51.111.01", 1),
            ("198.51.111.1:", 1),
            ("198.51.111.1 10.0.0.1", 1),
            ("\"198.51.111.1\"", 1),
        ] {
            assert_eq!(client(&[line]), Err(ForwardedForError::BadEntry { entry }), "{line:?}");
        }
        assert_eq!(forwarded_for([&b"\xff"[..]], trusted), Err(ForwardedForError::BadEntry { entry: 1 }));
    }

    #[test]
    fn a_list_is_bounded() {
        let many = vec!["198.51.111.1"; 400].join(",");
        assert_eq!(client(&[&many]), Err(ForwardedForError::TooLong));
        let lines = vec!["198.51.111.1"; 400];
        assert_eq!(client(&lines), Err(ForwardedForError::TooLong));
    }

    proptest! {
        #[test]
        fn never_a_trusted_hop_and_never_one_that_is_not_listed(
            entries in prop::collection::vec(prop_oneof![Just("10.0.0.1"), Just("198.51.111.1"), Just("2001:db8::5")], 1..9)
        ) {
            let found = client(&[&entries.join(", ")]).unwrap();
            let expected = entries.iter().rev().find(|entry| **entry != "10.0.0.1");
            prop_assert_eq!(found.as_deref(), expected.copied());
        }
    }
}
