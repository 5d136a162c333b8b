//! What command line and agent say to each other: one JSON line each way over the admin or the read socket.

mod status;

pub use status::{
    AttachmentStatus, Cause, ClusterStatus, FollowingStatus, GateStatus, KnocksStatus, NotCovered,
    PacketCount, RelayPortStatus, RelayStatus, Status, VouchingStatus,
};

use crate::audit::Event;
use crate::session::{Record, SessionId};
use pinning::{Lock, LockTarget, Mode};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Longest line of a call, in bytes; longer ones are refused.
pub const MAX_CALL: usize = 64 * 1024;

/// A call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// What is in force.
    Status,
    /// All sessions and unmanaged connections.
    Sessions,
    /// The latest events and, if asked, those to come.
    Events {
        /// Go on with new ones until the connection is closed.
        follow: bool,
    },
    /// The latest denied logins.
    Denials {
        /// No more than so many.
        at_most: usize,
    },
    /// All penalties.
    Penalties,
    /// Forget all penalties.
    ClearPenalties,
    /// End a session.
    Cut {
        /// Which.
        session: SessionId,
    },
    /// Lock.
    Lock {
        /// Whom.
        target: LockTarget,
        /// For how many seconds; absent: until unlocked.
        seconds: Option<u64>,
        /// Why.
        reason: Option<String>,
    },
    /// Take a lock away.
    Unlock {
        /// Its id.
        lock: String,
    },
    /// All locks.
    Locks,
    /// The mode in force.
    Mode,
    /// Another mode.
    SetMode {
        /// Which.
        mode: Mode,
        /// Go back by itself after so many seconds unless confirmed.
        confirm_within: Option<u64>,
    },
}

impl Call {
    /// Whether the read socket takes it.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Status
            | Self::Sessions
            | Self::Events { .. }
            | Self::Denials { .. }
            | Self::Penalties
            | Self::Locks
            | Self::Mode => true,
            Self::ClearPenalties
            | Self::Cut { .. }
            | Self::Lock { .. }
            | Self::Unlock { .. }
            | Self::SetMode { .. } => false,
        }
    }
}

/// An answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Of `Status`.
    Status(Box<Status>),
    /// Of `Sessions`.
    Sessions(SessionList),
    /// Of `Events`, one a line.
    Event(Box<Event>),
    /// Of `Denials`.
    Denials {
        /// The latest first.
        denials: Vec<Event>,
    },
    /// Of `Penalties`.
    Penalties {
        /// Sources that are kept out.
        penalties: Vec<Penalty>,
    },
    /// Of `Locks`.
    Locks {
        /// In the order in which they were set.
        locks: Vec<Lock>,
    },
    /// Of `Lock`.
    Locked {
        /// The new lock.
        lock: Lock,
        /// Sessions that it cut.
        cut: Vec<SessionId>,
        /// Why it will not outlive a restart, if it could not be stored.
        not_stored: Option<String>,
    },
    /// Of `Mode` and `SetMode`.
    Mode(ModeInForce),
    /// Done.
    Done {
        /// What was done, for people.
        text: String,
    },
    /// There is no such session or lock.
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The call was refused.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}

/// Sessions, and connections that are none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionList {
    /// Sessions, the oldest first.
    pub sessions: Vec<SessionStatus>,
    /// Connections older than the agent, or let in while it was away.
    pub unmanaged: Vec<Unmanaged>,
}

/// A session as `sessions` lists it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionStatus {
    /// What is known of it.
    #[serde(flatten)]
    pub record: Record,
    /// `live` or `cut`.
    pub state: String,
    /// Open connections.
    pub flows: usize,
    /// Sockets that it has opened for others to reach.
    #[serde(default)]
    pub endpoints: Vec<EndpointStatus>,
    /// Packets dropped.
    pub dropped: u64,
}

/// A socket that a session has opened for others to reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Where it is reached; the unspecified address is all of the node's.
    pub local: SocketAddr,
}

/// A connection to a login port that belongs to no session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmanaged {
    /// The node's end.
    pub local: String,
    /// The other end.
    pub peer: String,
}

/// A source that is kept out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Penalty {
    /// Its address; of IPv6 the /64.
    pub address: String,
    /// For how many seconds more.
    pub seconds_left: u64,
}

/// The mode, and what will become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeInForce {
    /// The mode in force.
    pub mode: Mode,
    /// What the configuration asks for.
    pub configured: Mode,
    /// The mode it goes back to unless confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goes_back_to: Option<Mode>,
    /// In how many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// What of the latest change did not come about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
