//! Lets user space read and write the shared records as map keys and values.
#![cfg(feature = "user")]
#![expect(unsafe_code, reason = "plain-old-data impls are unsafe to promise")]

use crate::{
    Address, Asked, Budget, Departure, Drops, Endpoint, Event, Flow, FlowKey, GatedPort, Gates, Grant, Home,
    Node, Penalty, Ports, Session, SessionId, Tag, Violated,
};

macro_rules! plain_old_data {
    ($($record:ty),+ $(,)?) => {
        $(
            // SAFETY: the type is `repr(C)` or `repr(transparent)`, consists of integers and arrays of them only, so
            // every bit pattern is valid, and its size assertion counts the explicit padding, so no byte of it is
            // uninitialised.
            unsafe impl aya::Pod for $record {}
        )+
    };
}

plain_old_data!(
    Address, Asked, Budget, Departure, Drops, Endpoint, Event, Flow, FlowKey, GatedPort, Gates, Grant, Home,
    Node, Penalty, Ports, Session, SessionId, Tag, Violated,
);

macro_rules! from_ring {
    ($($record:ty),+ $(,)?) => {
        $(
            impl $record {
                /// The record of a ring buffer; `None` if that has another size.
                pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                    let bytes: &[u8; size_of::<Self>()] = bytes.try_into().ok()?;
                    // SAFETY: as many bytes as the record has, of which every pattern is valid (see above); read without
                    // asking for alignment.
                    Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
                }
            }
        )+
    };
}

from_ring!(Departure, Event);
