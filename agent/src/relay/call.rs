//! What the processes of the relay say to the agent, and what it answers: a line of JSON each.

use crate::connections::Connection;
use cotter_vouch as vouch;
use pinning::How;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The agent's socket for them, below the runtime directory.
pub const SOCKET: &str = "relay.sock";
/// Who may use it beside root: the group of the user that the relay's unit names.
pub const GROUP: &str = "_cotter-relay";

/// What a process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Whose connection is on its way to sshd, for as long as the caller lives.
    Announce(Announcement),
    /// Whose is this connection of a trusted relay's?
    Whose(Leg),
    /// A trusted relay has said this by this connection.
    Said {
        /// Its connection.
        by: Leg,
        /// The line.
        line: String,
    },
    /// The listener that comes with this is for the connections of trusted relays, for as long as the caller lives.
    Listener,
}

/// Whose connection it is, and both of its legs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The balancer's connection.
    pub outer: Leg,
    /// The one within the node: the user's end of it, and sshd's.
    pub user: SocketAddr,
    /// sshd's end.
    pub sshd: SocketAddr,
    /// How the user's address was observed.
    pub how: How,
    /// The bastions that the user came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
}

/// A connection that a socket of the relay holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The node's end.
    pub local: SocketAddr,
    /// The balancer's.
    pub peer: SocketAddr,
    /// The socket's cookie.
    pub cookie: u64,
}

impl From<Leg> for Connection {
    fn from(Leg { local, peer, cookie }: Leg) -> Self {
        Self { local, peer, cookie }
    }
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The connection goes on to sshd; the listener is taken.
    Go,
    /// It does not, and why.
    Stay(String),
    /// The connection is of somebody there.
    Of(User),
    /// What is answered to who has said something.
    Say(vouch::Answer),
}

/// Where the user of a connection is, by a trusted relay's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The address.
    pub address: IpAddr,
    /// Whose word it is.
    pub how: How,
    /// The bastions that they came through.
    pub via: Via,
}

/// What a bastion has said of the way of a user who came through it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// Their session there.
    pub session: String,
    /// All bastions that they came through, by the fingerprints of their keys, the first at first.
    pub through: Vec<String>,
}
