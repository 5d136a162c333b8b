//! What is known of a session besides what the kernel judges by; kept in the `DETAILS` map.

use crate::audit::Subject;
use crate::relay::Via;
use pinning::{Mode, OnNewAddress, PinEndpoints};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A session's id: random, never reused; shown as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(u64);

impl SessionId {
    /// A fresh id from the kernel's random numbers; never 0, which stands for no session.
    ///
    /// # Errors
    /// The kernel has no random numbers for us.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 8];
        loop {
            let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
            let id = u64::from_ne_bytes(bytes);
            if filled == bytes.len() && id != 0 {
                return Ok(Self(id));
            }
        }
    }
}

impl From<SessionId> for agent_ebpf::SessionId {
    fn from(id: SessionId) -> Self {
        Self::new(id.0)
    }
}

impl From<agent_ebpf::SessionId> for SessionId {
    fn from(id: agent_ebpf::SessionId) -> Self {
        Self(id.number())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

impl FromStr for SessionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|error| format!("\"{text}\" is not a session id (16 hexadecimal digits): {error}"))
    }
}

impl TryFrom<String> for SessionId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    #[serde(flatten)]
    pub subject: Subject,
    /// When it was opened, Unix seconds.
    pub opened_at: u64,
    /// When it is to be cut, Unix seconds; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<u64>,
    /// What a login of the same user from elsewhere does to it.
    pub on_new_address: OnNewAddress,
    /// Which of its endpoints are held to its pins; an agent that knew of none has held none.
    #[serde(default = "none")]
    pub pin_endpoints: PinEndpoints,
    /// The mode that its roles ask for; the weaker of it and the node's counts.
    pub mode: Mode,
    /// Its certificate was good here: older sessions of the same person may follow it.
    #[serde(default)]
    pub leads: bool,
    /// It was opened with a break-glass key, so no lock counts for it.
    #[serde(default)]
    pub break_glass: bool,
    /// The connection that opened it.
    pub local: SocketAddr,
    /// The connection's other end.
    pub peer: SocketAddr,
    /// The sshd process that serves the connection.
    pub monitor: u32,
    /// The session's own cgroup below the cgroup2 mount, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Where the login came from whose pins it has followed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<IpAddr>,
    /// The bastions that it came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// When the login was opened whose pins it has followed to, Unix seconds; absent: it has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_at: Option<u64>,
}

fn none() -> PinEndpoints {
    PinEndpoints::Off
}

/// Room for a record in the `DETAILS` map, in bytes.
const ROOM: usize = agent_ebpf::DETAILS_CAPACITY;

impl Record {
    /// The record as it goes into the map. Of one that does not fit, the pins and then the roles are left out: the
    /// kernel's copy of the pins is what is judged by; without its roles a session opens no gates that ask for some.
    ///
    /// # Errors
    /// What remains is still too long: the certificate's names are.
    pub fn encode(&self) -> Result<Vec<u8>, RecordTooLong> {
        let mut record = self.clone();
        for shorten in [
            |_: &mut Self| (),
            |record: &mut Self| record.subject.pinned.clear(),
            |record: &mut Self| record.subject.roles.clear(),
        ] {
            shorten(&mut record);
            if let Ok(text) = serde_json::to_vec(&record)
                && text.len() <= ROOM
            {
                return Ok(text);
            }
        }
        Err(RecordTooLong)
    }

    /// Where whoever uses it is: where it was opened, or where it has followed to.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.at.unwrap_or(self.peer.ip())
    }

    /// The record found in the map; none if another version of the agent wrote what this one cannot read.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// A session's names do not fit into its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate's names are longer than a session record holds ({ROOM} bytes)")]
pub struct RecordTooLong;
