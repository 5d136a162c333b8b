//! The vocabulary that the agent and its kernel programs share, and the packet verdict.
//!
//! Records that lie in kernel maps are `repr(C)` with explicit padding and private fields; their sizes are asserted
//! beside them. [`verdict`] is the whole packet policy; the kernel programs, `explain`, `replay` and the tests call
//! the same function over different [`Tables`].
#![cfg_attr(not(any(test, feature = "user")), no_std)]

mod address;
mod budget;
mod departure;
mod drops;
mod endpoint;
mod event;
mod flow;
mod found;
mod frame;
mod grant;
mod here;
mod home;
mod listener;
mod mode;
mod node;
mod packet;
mod port;
mod reason;
mod record;
mod session;
mod standing;
mod tables;
mod tcp;
mod verdict;

pub use address::{Address, Network};
pub use budget::{Budget, EVENTS_ALLOWED};
pub use departure::Departure;
pub use drops::{DEVICES, Drops, device_slot};
pub use endpoint::{Asked, Endpoint, Receiver, Tag, Violated};
pub use event::Event;
pub use flow::{Flow, FlowKey, Leg, SocketCookie};
pub use found::{EXTENSION_HEADERS, Found};
pub use frame::{FARTHEST, Frame};
pub use grant::{GatedPort, Gates, Grant, PrefilterBits};
pub use home::Home;
pub use listener::{RELAY_LISTENERS, relay_slot};
pub use mode::Mode;
pub use node::{Node, Penalty};
pub use packet::{Content, KNOCK, Layer, Packet, Protocol, Segment};
pub use port::{Port, PortClass, Ports};
pub use reason::{Action, Reason, carried};
pub use session::{HeldEndpoints, Session, SessionId, SessionState};
pub use standing::Standing;
pub use tables::Tables;
pub use tcp::Step;
pub use verdict::{Verdict, is_granted, verdict, verdict_at_socket};

/// The version of the maps' shapes and of what the records in them mean.
///
/// Maps are pinned below a directory of this number. A record may grow into its reserved bytes without a change
/// here; anything that an agent of the same number would misread needs the next one.
pub const ABI_VERSION: u32 = if cfg!(feature = "next-abi") { 2 } else { 1 };

/// Coarse monotonic time (`CLOCK_MONOTONIC_COARSE`) in nanoseconds.
pub type Nanoseconds = u64;

/// The time that never comes.
pub const NEVER: Nanoseconds = u64::MAX;

/// The longest JSON text that a record of `DETAILS` holds, in bytes.
pub const DETAILS_CAPACITY: usize = 2048 - size_of::<u32>();
