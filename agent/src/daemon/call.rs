//! What command line and agent say to each other: one JSON line each way over the admin or the read socket.

use crate::audit::Event;
use crate::config::OtherLogins;
use crate::session::{Record, SessionId};
use agent_ebpf::Action;
use pinning::{Lock, LockTarget, Mode, OnExpiry, RolesFrom};
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

/// What is in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The agent's process id.
    pub pid: u32,
    /// When the agent started, Unix seconds.
    pub started_at: u64,
    /// How it took over from its predecessor.
    pub takeover: String,
    /// The mode.
    pub mode: ModeInForce,
    /// Hash of the configuration in force.
    pub config_hash: String,
    /// When it was read, Unix seconds.
    #[serde(default)]
    pub config_loaded_at: u64,
    /// Why the latest reload was refused, if it was.
    pub reload_error: Option<String>,
    /// Whose certificates are accepted.
    #[serde(default)]
    pub clusters: Vec<ClusterStatus>,
    /// How following an authority goes, if one is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub following: Option<FollowingStatus>,
    /// Number of roles.
    #[serde(default)]
    pub roles: usize,
    /// What becomes of logins without a certificate.
    #[serde(default)]
    pub other_logins: OtherLogins,
    /// Ports on which logins are judged.
    pub login_ports: Vec<u16>,
    /// Gates before the node's own services.
    #[serde(default)]
    pub gates: Vec<GateStatus>,
    /// How balancers' connections are handed on, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayStatus>,
    /// Number of addresses to which sessions or knocks may open gates.
    #[serde(default)]
    pub grants: usize,
    /// How many of these have knocked a short while ago.
    #[serde(default)]
    pub knocked: usize,
    /// Where the programs are attached, and how.
    pub attachments: Vec<AttachmentStatus>,
    /// Interfaces that are not covered, or perhaps not, and why.
    pub not_covered: Vec<NotCovered>,
    /// Why what sessions open for others to reach is not held to their pins, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints_error: Option<String>,
    /// How the node is knocked at, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knocks: Option<KnocksStatus>,
    /// Number of live sessions.
    pub sessions: usize,
    /// Most sessions at once.
    pub max_sessions: u32,
    /// Connections to login ports that the agent does not manage.
    pub unmanaged: usize,
    /// Number of locks.
    pub locks: usize,
    /// Number of penalties.
    pub penalties: usize,
    /// Packets by reason since the boot, or since the maps were made.
    pub packets: Vec<PacketCount>,
}

impl Status {
    /// The counts of the reasons to drop a packet.
    pub(crate) fn drops(&self) -> impl Iterator<Item = &PacketCount> {
        self.packets.iter().filter(|count| count.action == Action::Drop.name())
    }
}

/// How following an authority goes. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowingStatus {
    /// Where it is.
    pub url: String,
    /// The cluster of the policy in force.
    pub cluster: Option<String>,
    /// The version of the policy in force.
    pub version: Option<u64>,
    /// When the authority made it.
    pub issued_at: Option<u64>,
    /// When the authority last answered, since the agent started.
    pub heard_at: Option<u64>,
    /// Why the latest try came to nothing.
    pub error: Option<String>,
    /// Clusters and roles of the policy that do not count, since the node's own files say something else.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// How balancers' connections are handed on to sshd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatus {
    /// Where they come in.
    pub ports: Vec<RelayPortStatus>,
    /// Those that are known at this moment.
    pub connections: usize,
    /// Why sshd's answers do not find back to them, if they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A port where balancers' connections come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayPortStatus {
    /// It.
    pub port: u16,
    /// sshd's port, to which they go on.
    pub login_port: u16,
    /// The balancers that are listened to, as networks.
    pub trusted_proxies: Vec<String>,
}

/// How the node is knocked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnocksStatus {
    /// The UDP port.
    pub port: u16,
    /// Whether also the TCP port.
    pub tcp: bool,
    /// Number of host keys that a knock may be for.
    pub host_keys: usize,
    /// Knocks that let somebody in, since the agent's start.
    pub accepted: u64,
    /// Knocks that did not.
    pub refused: u64,
    /// Why knocks are not heard, if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Login ports before which a gate should stand, and stands not: nobody would get past it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_open: Vec<u16>,
}

/// A cluster whose user certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// Its roles count only through a role map.
    pub trusted: bool,
    /// Number of keys of its user authority.
    pub ca_keys: usize,
    /// Where its roles come from.
    pub roles_from: RolesFrom,
    /// What becomes of sessions when their certificates expire, unless a role decides.
    pub on_expiry: OnExpiry,
}

/// A gate before some of the node's ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateStatus {
    /// The ports.
    pub ports: Vec<u16>,
    /// `tcp`, `udp` or `any`.
    pub protocol: String,
    /// Whose sessions open it; absent: all pinned ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
}

/// A program on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentStatus {
    /// The interface's name.
    pub interface: String,
    /// `xdp`, `xdp-generic`, `tcx` or `clsact`.
    pub method: String,
}

/// An interface without a program, or with programs of others before ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCovered {
    /// The interface's name.
    pub interface: String,
    /// What kind of reason there is.
    pub cause: Cause,
    /// Why, in words.
    pub why: String,
}

/// Why an interface is not covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// `interfaces = "auto"` leaves it out.
    LeftOut,
    /// The configuration names others.
    NotListed,
    /// The configuration names it, and it is not there.
    Missing,
    /// The programs could not be attached.
    Failed,
    /// Programs of others come before ours.
    Behind,
}

impl Cause {
    /// The word that metrics use; none where it is as the configuration wants it.
    pub(crate) const fn fault(self) -> Option<&'static str> {
        match self {
            Self::LeftOut | Self::NotListed => None,
            Self::Missing => Some("missing"),
            Self::Failed => Some("failed"),
            Self::Behind => Some("behind"),
        }
    }
}

/// Packets of one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketCount {
    /// The packet reason.
    pub reason: String,
    /// `pass` or `drop`.
    pub action: String,
    /// How many came to this end.
    pub packets: u64,
    /// How many would have, had not audit mode overruled it.
    pub overruled: u64,
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
