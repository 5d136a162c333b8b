//! What a bastion says of the connections that its sessions open to nodes: whose they are, and where these people are.
//!
//! The crate does no I/O and knows no clock: callers hand in texts, times and random numbers.
//!
//! # On the wire
//! A bastion's agent connects to the node's login port from the address that the session's connection comes from, and sends
//! one line: a [`Signed`] as JSON, of at most [`LONGEST`] bytes, whose `statement` is the very text that is signed. The node
//! answers with one line, an [`Answer`]. No SSH client begins with `{`, and none of a bastion's is one that sends nothing.
//!
//! # What makes one count
//! - **The signature** is by the key that the node knows for the relay with this address, Ed25519, in the namespace
//!   [`NAMESPACE`] (PROTOCOL.sshsig): a key that signs other things too vouches for nothing by them.
//! - **The connection** is named by both of its ends; nothing that comes between may change them.
//! - **The time** is within [`WINDOW`] of the node's, and
//! - **the number** has not come before ([`Used`]).

#![forbid(unsafe_code)]

mod key;
mod signed;
mod statement;
mod used;

pub use key::{RelayKey, RelayKeyError};
pub use signed::{LONGEST, NAMESPACE, Signed, SignedError};
pub use statement::{Answer, LONGEST_TEXT, MOST_RELAYS, Says, Statement, Vouched};
pub use used::{CAPACITY, Refusal, Used, WINDOW};
