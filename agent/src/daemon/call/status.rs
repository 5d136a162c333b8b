//! What `status` is answered: everything that is in force.

use super::ModeInForce;
use crate::config::OtherLogins;
use crate::family::Family;
use agent_ebpf::Action;
use pinning::{OnExpiry, RolesFrom};
use serde::{Deserialize, Serialize};

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
    /// How this node vouches for its users, if it is a bastion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouching: Option<VouchingStatus>,
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
    /// Where balancers' come in.
    pub ports: Vec<RelayPortStatus>,
    /// The bastions whose connections are led to it.
    #[serde(default)]
    pub bastions: Vec<String>,
    /// The families for which it is there for these; what they connect otherwise is dropped.
    #[serde(default)]
    pub listens: Vec<Family>,
    /// Why they are not led there, if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steer_error: Option<String>,
    /// Those that are known at this moment.
    pub connections: usize,
    /// Why sshd's answers do not find back to them, if they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a bastion vouches for its users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VouchingStatus {
    /// The fingerprint of its key; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// To whom, as networks.
    pub nodes: Vec<String>,
    /// At which of their ports.
    pub ports: Vec<u16>,
    /// Why the latest statement did not count, if it did not.
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
