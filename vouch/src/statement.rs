//! A statement: what a relay says of one connection.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Most relays that a user's connection comes through, each of which has vouched to the next.
pub const MOST_RELAYS: usize = 4;

/// What a relay says of one connection. Fields of a version to come are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Never used by another: 32 hexadecimal digits.
    pub id: String,
    /// When it was made, Unix milliseconds.
    pub made_at: u64,
    /// The relay's end of the connection, canonical.
    pub from: SocketAddr,
    /// The node's end of it, canonical.
    pub to: SocketAddr,
    /// What is to be known of it.
    pub says: Says,
}

/// What is to be known of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// A session is opening it.
    Opened(Vouched),
    /// That session is over.
    Ended {
        /// The session at the relay.
        session: String,
    },
}

/// Whose a connection is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// Where its user is, canonical.
    pub address: IpAddr,
    /// How the relay knows, in its own words, such as `direct`.
    pub how: String,
    /// The user, as the relay knows them: their certificate's key id, or the account without one.
    pub user: String,
    /// The certificate's serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    /// The session at the relay.
    pub session: String,
    /// The fingerprints of all relays that the user comes through, the first at first, this one last.
    pub through: Vec<String>,
}

/// What the node answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It counts.
    Taken,
    /// The connection is not there, or not yet: it does not count, and may be said once more.
    NotYet,
    /// It does not, and why.
    Refused(String),
}

/// Longest text in a [`Vouched`], in bytes: names stand in logs and records.
pub const LONGEST_TEXT: usize = 256;

impl Vouched {
    /// Whether its texts are short, and such as may stand in logs.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let is_plain = |text: &String| text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control);
        [&self.how, &self.user, &self.session].into_iter().chain(&self.through).all(is_plain)
    }

    /// Whether its user comes through a number of relays that may be, each of them once.
    #[must_use]
    pub fn is_straight(&self) -> bool {
        let is_new = |(place, relay): (usize, &String)| !self.through[..place].contains(relay);
        (1..=MOST_RELAYS).contains(&self.through.len()) && self.through.iter().enumerate().all(is_new)
    }
}
