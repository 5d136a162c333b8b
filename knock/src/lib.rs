//! What a knock is: a certificate, a proof that its key is at hand, and a time, in one message, so that a node which
//! shows strangers no open port opens for whoever sent it.
//!
//! The crate does no I/O and knows no clock: callers hand in bytes, times and random numbers.
//!
//! # On the wire
//! Numbers are big-endian. A certificate of `c` bytes and a signature of `s` bytes make `100 + c + s`.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 7 | `ctknock` |
//! | 7 | 1 | version: 1 |
//! | 8 | 32 | node: SHA-256 of one of its SSH host keys in wire format, as in `SHA256:…` |
//! | 40 | 8 | time: Unix milliseconds |
//! | 48 | 16 | nonce: random |
//! | 64 | 2 | `c` |
//! | 66 | `c` | certificate: OpenSSH's, its bytes, not their base64 |
//! | 66 + `c` | 2 | `s` |
//! | 68 + `c` | `s` | proof: a signature in SSH's encoding (RFC 4253, section 6.6) |
//! | 68 + `c` + `s` | 32 | MAC, or zeros without a key |
//!
//! Nothing follows, and nothing is longer than [`MAX_KNOCK`]. One that is no longer than [`MAX_DATAGRAM`] goes in a UDP
//! datagram; over TCP any goes behind its length in two bytes ([`frame_len`]).
//!
//! **The proof** is what `ssh-keygen -Y sign -n knock@cotter` makes, with SHA-512, by the certificate's key, of these 96
//! bytes: the first 64 of the knock (up to and with the nonce) and the SHA-256 of the certificate. The knock carries
//! nothing of SSHSIG's envelope but the signature itself: the key is in the certificate, and namespace, hash and message
//! are made again by whoever verifies it.
//!
//! **The MAC** is HMAC-SHA256 over all that stands before it. Its key ([`KnockKey`]) is the certificate's own: HMAC-SHA256,
//! under a [`FleetSecret`] that only nodes and their authority hold, over `cotter knock key 1`, a zero byte and the
//! SHA-256 of the certificate. So a node tells what a stranger made up by two HMACs and no signature.
//!
//! The source address is not in it: behind a translator nobody knows their own. The certificate's pin says from where a
//! knock counts, and one without a pin counts from wherever it comes first.
//!
//! # What a node does with one
//! The cheap questions first, and no answer to any that fails: [`Knock::parse`], [`Knock::is_for`], [`Window::require`],
//! [`Knock::mac_holds`], [`Replays::knows`], the rules of `pinning` over [`Knock::certificate`] (is its authority known, did
//! it sign, is the source inside the pin), [`Knock::prove`], [`Replays::take`].

#![forbid(unsafe_code)]

mod draft;
mod fingerprint;
mod frame;
mod key;
mod knock;
mod proof;
mod replays;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod test_knock;
mod time;
mod window;

pub use draft::{Draft, DraftError, Packed};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use frame::{FRAME_HEADER, frame_len};
pub use key::{FleetSecret, KeyError, KnockKey};
pub use knock::{Knock, MAX_DATAGRAM, MAX_KNOCK, Malformed, NONCE_LEN};
pub use proof::{MESSAGE_LEN, NAMESPACE, Proven, Unproven};
pub use replays::{CAPACITY, MOST_OF_ONE, Refusal, Replays};
pub use time::UnixMillis;
pub use window::{Outside, WINDOW, Window};
