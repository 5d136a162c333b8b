//! What strangers do to knocks on their way, and what they make up.

use proptest::prelude::*;

use crate::test_knock::{NODE, User};
use crate::{
    Draft, DraftError, FleetSecret, Knock, KnockKey, MAX_DATAGRAM, Packed, UnixMillis, Unproven, frame_len,
};

const TIME: UnixMillis = UnixMillis(1_800_000_000_000);

fn fleet() -> FleetSecret {
    FleetSecret::new([7; 32])
}

fn knock(key: Option<&KnockKey>) -> Packed {
    User::seeded(1).knock(NODE, TIME, [3; 16], key)
}

/// The knock with one bit turned.
fn turned(packed: &Packed, bit: usize) -> Vec<u8> {
    let mut bytes = packed.bytes().to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

fn proven(bytes: &[u8]) -> bool {
    Knock::parse(bytes).is_ok_and(|knock| knock.prove().is_ok())
}

#[test]
fn a_knock_that_is_whole_is_proven_and_its_mac_holds() {
    let packed = knock(Some(&fleet().key_for(&User::seeded(1).certificate)));
    let knock = Knock::parse(packed.bytes()).unwrap();
    assert!(knock.is_for(&NODE) && knock.has_mac() && knock.mac_holds(&fleet()));
    assert_eq!((knock.time(), knock.nonce()), (TIME, [3; 16]));
    assert_eq!(knock.certificate(), User::seeded(1).certificate);
    assert_eq!(*knock.prove().unwrap().knock(), knock);
}

#[test]
fn whatever_bit_is_turned_the_mac_does_not_hold() {
    let packed = knock(Some(&fleet().key_for(&User::seeded(1).certificate)));
    for bit in 0..packed.bytes().len() * 8 {
        let bytes = turned(&packed, bit);
        assert!(!Knock::parse(&bytes).is_ok_and(|knock| knock.mac_holds(&fleet())), "bit {bit}");
    }
}

/// The MAC's own bits are nobody's where there is no secret.
#[test]
fn whatever_bit_is_turned_before_the_mac_nothing_is_proven() {
    let packed = knock(None);
    assert!(proven(packed.bytes()));
    for bit in 0..(packed.bytes().len() - 32) * 8 {
        assert!(!proven(&turned(&packed, bit)), "bit {bit}");
    }
}

#[test]
fn a_key_s_signature_for_something_else_is_no_proof() {
    let user = User::seeded(1);
    let draft = Draft::new(NODE, TIME, [3; 16], &user.certificate);
    let others = [
        Draft::new(crate::Fingerprint([8; 32]), TIME, [3; 16], &user.certificate),
        Draft::new(NODE, UnixMillis(TIME.0 + 1), [3; 16], &user.certificate),
        Draft::new(NODE, TIME, [4; 16], &user.certificate),
    ];
    for other in others {
        let refused = draft.signed(&user.signs(&other), None);
        assert_eq!(refused, Err(DraftError::Unproven(Unproven::Signature)));
    }
    let bob = User::seeded(2).signs(&draft);
    assert_eq!(draft.signed(&bob, None), Err(DraftError::Unproven(Unproven::Signature)));
    let garbage = draft.signed(b"garbage", None);
    assert!(matches!(garbage, Err(DraftError::Unproven(Unproven::Kind(_)))));
    let plain = Draft::new(NODE, TIME, [3; 16], b"no certificate");
    let refused = plain.signed(&user.signs(&plain), None);
    assert!(matches!(refused, Err(DraftError::Unproven(Unproven::Certificate(_)))));
}

#[test]
fn a_certificate_that_is_too_large_is_said_to_be() {
    let large = vec![0; 9000];
    let draft = Draft::new(NODE, TIME, [3; 16], &large);
    assert_eq!(draft.signed(b"", None), Err(DraftError::Long(9000)));
}

#[test]
fn a_knock_over_tcp_has_its_length_before_it() {
    let packed = knock(None);
    let framed = packed.framed();
    assert_eq!(frame_len([framed[0], framed[1]]), Ok(packed.bytes().len()));
    assert_eq!(&framed[2..], packed.bytes());
    assert!(packed.datagram().is_some_and(|bytes| bytes.len() <= MAX_DATAGRAM && bytes == packed.bytes()));
}

proptest! {
    #[test]
    fn no_bytes_are_trouble(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(Knock::parse(&bytes).is_err());
    }

    /// Behind a beginning that is a knock's, in the shape of one.
    #[test]
    fn no_certificate_and_no_signature_is_trouble(
        certificate in prop::collection::vec(any::<u8>(), 0..600),
        signature in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let head = crate::knock::header(NODE, TIME, [3; 16]);
        let bytes = crate::knock::assemble(&head, &certificate, &signature, |_| None).unwrap();
        let knock = Knock::parse(&bytes).unwrap();
        prop_assert_eq!((knock.certificate(), knock.signature()), (&certificate[..], &signature[..]));
        prop_assert!(!knock.mac_holds(&fleet()));
        prop_assert!(knock.prove().is_err());
    }

    #[test]
    fn a_knock_that_was_cut_mended_or_lengthened_is_none(
        at in any::<prop::sample::Index>(),
        put in prop::collection::vec(any::<u8>(), 0..8),
        gone in 0_usize..8,
    ) {
        let packed = knock(Some(&fleet().key_for(&User::seeded(1).certificate)));
        let mut bytes = packed.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes.splice(at..(at + gone).min(packed.bytes().len()), put);
        prop_assume!(bytes != packed.bytes());
        let parsed = Knock::parse(&bytes);
        prop_assert!(!parsed.is_ok_and(|knock| knock.mac_holds(&fleet())));
    }
}
