//! `X-Forwarded-For`: whoever writes at its left end, only what stands right of it counts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pinning::{Address, ForwardedForError, forwarded_for};

/// A hop, and somebody else.
const HOP: &[u8] = b"10.0.0.1";
const STRANGER: &[u8] = b"203.0.113.7";
/// Where a list is too long.
const LONGEST: usize = 4096;

fn is_hop(address: Address) -> bool {
    let bytes = address.mapped();
    bytes.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10])
        || bytes.starts_with(&[0x20, 0x01, 0x0d, 0xb8, 0, 1])
}

fn read(list: &[u8]) -> Result<Option<Address>, ForwardedForError> {
    forwarded_for([list], is_hop)
}

fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let found = forwarded_for(lines.iter().copied(), is_hop);
    let list = lines.join(&b',');
    // If it is wrong in several ways, it may be another one that is told.
    assert_eq!(read(&list).ok(), found.ok(), "several lines are one list");
    let left = |entry: &[u8]| [entry, b", ", &list].concat();
    let right = |entry: &[u8]| [&list, &b", "[..], entry].concat();
    if right(STRANGER).len() >= LONGEST {
        return;
    }
    let stranger = read(STRANGER).expect("an address");
    match found {
        Ok(Some(address)) => {
            fuzz::require_canonical(address);
            assert!(!is_hop(address), "a hop is nobody's address");
            for same in [left(STRANGER), left(HOP), right(HOP)] {
                assert_eq!(read(&same), found);
            }
            assert_eq!(read(&right(STRANGER)), Ok(stranger));
        }
        Ok(None) => {
            assert_eq!(read(&left(STRANGER)), Ok(stranger));
            assert_eq!(read(&right(HOP)), Ok(None));
        }
        Err(_) => {
            for list in [left(STRANGER), right(STRANGER), right(HOP)] {
                assert!(read(&list).is_err(), "what was no list has become one");
            }
        }
    }
});
