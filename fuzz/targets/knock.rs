//! Knocks: what is read of one is all that was sent, no MAC is anybody's who has no key, and what is proven is what a key
//! has signed, for this node, time and certificate and nothing else.
//!
//! The first byte says whether the rest is a whole knock, or what the harness signs.
#![no_main]

use std::sync::LazyLock;

use base64ct::{Base64, Encoding};
use cotter_knock::{Draft, DraftError, Fingerprint, FleetSecret, Knock, MAX_DATAGRAM, UnixMillis, Unproven};
use fuzz::Sealed;
use libfuzzer_sys::fuzz_target;

static SEALED: LazyLock<Sealed> = LazyLock::new(|| Sealed::seeded(9));
static FLEET: LazyLock<FleetSecret> = LazyLock::new(|| FleetSecret::new([7; 32]));

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((0, knock)) => as_it_is(knock),
        Some((_, fields)) => sealed(fields),
        None => {}
    }
});

/// Bytes of a stranger's.
fn as_it_is(bytes: &[u8]) {
    let Ok(knock) = Knock::parse(bytes) else { return };
    assert_eq!(bytes.len(), 100 + knock.certificate().len() + knock.signature().len());
    assert!(!knock.mac_holds(&FLEET));
    let draft = Draft::new(knock.node(), knock.time(), knock.nonce(), knock.certificate());
    let again = draft.signed(knock.signature(), None);
    match knock.prove() {
        Ok(proven) => {
            assert_eq!(*proven.knock(), knock);
            let again = again.expect("what is proven can be sent");
            assert_eq!(again.bytes()[..bytes.len() - 32], bytes[..bytes.len() - 32]);
        }
        Err(why) => assert_eq!(again, Err(DraftError::Unproven(why))),
    }
}

/// A knock of somebody with a key and a certificate: it is understood as it was meant, and no bit of it is another's.
fn sealed(fields: &[u8]) {
    let Some((header, fields)) = fields.split_first_chunk::<56>() else { return };
    let node = Fingerprint(part(header, 0));
    let (time, nonce) = (UnixMillis(u64::from_be_bytes(part(header, 32))), part(header, 40));
    let certificate = Base64::decode_vec(&SEALED.certificate(fields)).expect("base64");
    let draft = Draft::new(node, time, nonce, &certificate);
    let packed = match draft.signed(&SEALED.sign(&draft.to_sign()), Some(&FLEET.key_for(&certificate))) {
        Ok(packed) => packed,
        Err(DraftError::Unproven(Unproven::Certificate(_)) | DraftError::Long(_)) => return,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(packed.datagram().is_some(), packed.bytes().len() <= MAX_DATAGRAM);
    let knock = Knock::parse(packed.bytes()).expect("what is sent is a knock");
    assert!(knock.is_for(&node) && knock.mac_holds(&FLEET));
    assert_eq!((knock.time(), knock.nonce(), knock.certificate()), (time, nonce, &certificate[..]));
    require_whole(packed.bytes(), usize::from(nonce[0]) * 256 + usize::from(nonce[1]));
}

/// With this bit turned it is nobody's.
fn require_whole(bytes: &[u8], bit: usize) {
    let mut turned = bytes.to_vec();
    let at = bit % (turned.len() * 8);
    turned[at / 8] ^= 1 << (at % 8);
    if let Ok(knock) = Knock::parse(&turned) {
        assert!(!knock.mac_holds(&FLEET));
        let of_mac = at / 8 >= turned.len() - 32;
        assert_eq!(knock.prove().is_ok(), of_mac);
    }
}

/// `LEN` bytes from there.
fn part<const LEN: usize>(header: &[u8; 56], at: usize) -> [u8; LEN] {
    std::array::from_fn(|index| header[at + index])
}
