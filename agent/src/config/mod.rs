//! The node's configuration: `agent.toml`, then `agent.d/*.toml`, then the roles and CA keys that they name.

mod authority;
mod error;
mod file;
mod followed;
mod gate;
mod knock;
mod load;
mod places;
mod policy;
mod relay;
mod trusted_relay;
mod vouch;

#[cfg(test)]
mod tests;

pub use authority::FollowedAuthority;
pub use error::ConfigError;
pub use followed::{FollowError, Followed, user_ca_file};
pub use gate::{Gate, GatedProtocol};
pub use knock::Knocks;
pub(crate) use knock::has_host_keys;
pub use load::{load, load_relay, load_trusted};
pub use places::Places;
pub use policy::UnusedField;
pub use relay::{RelayConfig, RelayPort};
pub use trusted_relay::TrustedRelay;
pub use vouch::Vouching;

pub use crate::metrics::MetricsAt;

pub use crate::datapath::{AttachMode, KernelLog, TcHook};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything that the configuration says, checked; see `load`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Interfaces to protect.
    pub interfaces: Interfaces,
    /// How to attach to them.
    pub attach: AttachMode,
    /// Which TC hook to use where TC is used.
    pub tc_hook: TcHook,
    /// The mode that the file asks for; `cotter-agent mode` may have set another.
    pub mode: pinning::Mode,
    /// TCP ports on which sshd listens; at least one.
    pub login_ports: Vec<u16>,
    /// How long a connection to a login port may stay without a session.
    pub login_grace_time: Duration,
    /// Sources that are never dropped.
    pub never_drop: Vec<ipnet::IpNet>,
    /// Ports at which balancers hand connections on to sshd; the relay reads them at its start only.
    pub relay_ports: Vec<RelayPort>,
    /// Bastions whose word on their users' addresses counts.
    pub trusted_relays: Vec<TrustedRelay>,
    /// To whom this node vouches itself, if it is a bastion.
    pub vouching: Option<Vouching>,
    /// Ports that answer only to addresses with a live pinned session.
    pub gates: Vec<Gate>,
    /// What becomes of logins without a certificate.
    pub other_logins: OtherLogins,
    /// The same, if some file says so.
    pub other_logins_said: Option<OtherLogins>,
    /// What becomes of a cut session's processes.
    pub on_cut: OnCut,
    /// File that gets a copy of every audit event.
    pub event_log: Option<PathBuf>,
    /// Sockets and the mode file; world-readable.
    pub runtime_dir: PathBuf,
    /// What outlives a reboot.
    pub state_dir: PathBuf,
    /// Where maps, programs and links are pinned.
    pub bpf_pin_dir: PathBuf,
    /// Group that may read status, sessions and events.
    pub read_group: String,
    /// Where metrics are served; read at the start only.
    pub metrics: MetricsAt,
    /// Most sessions at once; a login beyond is denied `table_full`.
    pub max_sessions: u32,
    /// Most of them that one person may have, or one account without certificates; a login beyond is denied `table_full`.
    pub max_sessions_per_person: u32,
    /// What the kernel programs log.
    pub kernel_log: KernelLog,
    /// The cgroup below which all sessions have theirs, from the hierarchy's root; read at the start only.
    pub sessions_cgroup: String,
    /// Executables that count as sshd.
    pub sshd_paths: Vec<PathBuf>,
    /// When a source that keeps being denied is kept out.
    pub penalties: Penalties,
    /// How the node is knocked at, if it is.
    pub knocks: Option<Knocks>,
    /// Clusters and roles.
    pub policy: pinning::Policy,
    /// Whose policy is followed.
    pub authority: Option<FollowedAuthority>,
    /// The policy of that authority.
    pub followed: Option<Arc<Followed>>,
    /// A newer one whose rules are refused: only its locks count.
    pub refused: Option<Arc<Followed>>,
    /// What of it does not count, since the node's own files say something else.
    pub left_out: Vec<String>,
    /// Why the policy that was kept does not count.
    pub follow_error: Option<String>,
    /// Clusters and roles of the files alone.
    own: followed::Own,
    /// Role fields that are accepted and have no effect.
    pub unused: Vec<UnusedField>,
    /// SHA-256 over all that was read, as shown by `status`.
    pub hash: String,
    /// When it was read, Unix seconds.
    pub loaded_at: u64,
    /// The `user_ca` of every cluster.
    pub user_ca_files: Vec<PathBuf>,
    /// Every file that was read.
    pub files: Vec<PathBuf>,
}

impl Config {
    /// Whether a login name is its own principal: some cluster has no `principals_file`, or there is no cluster.
    #[must_use]
    pub fn login_names(&self) -> bool {
        let clusters = self.policy.clusters();
        clusters.is_empty() || clusters.iter().any(|cluster| cluster.principals_file.is_none())
    }

    /// The ports at which logins come in: sshd's, and those of the relay.
    #[must_use]
    pub fn ways_in(&self) -> Vec<u16> {
        self.login_ports.iter().copied().chain(self.relay_ports.iter().map(|relay| relay.port)).collect()
    }

    /// sshd's ports to which the relay leads.
    pub fn relayed_to(&self) -> impl Iterator<Item = u16> {
        let of_relays = if self.trusted_relays.is_empty() { &[] } else { self.login_ports.as_slice() };
        self.relay_ports.iter().map(|relay| relay.login_port).chain(of_relays.iter().copied())
    }

    /// The login ports before which a gate stands.
    pub fn gated_login_ports(&self) -> impl Iterator<Item = u16> {
        let gated = self.gates.iter().flat_map(Gate::ports);
        let login = gated.filter(|(protocol, port)| {
            *protocol == agent_ebpf::Protocol::Tcp && self.login_ports.contains(port)
        });
        login.map(|(_, port)| port)
    }

    /// Whether somebody without a session gets past a gate before a login port: an administrator by `never_drop`, or whoever
    /// knocks, where knocks are heard.
    #[must_use]
    pub fn has_way_in(&self, knocks_are_heard: bool) -> bool {
        let knocks = self.knocks.as_ref().filter(|_| knocks_are_heard);
        knocks.is_some_and(|knocks| !knocks.host_keys.is_empty()) || gate::is_way_in(&self.never_drop)
    }

    /// The `principals_file` of each cluster that has one.
    pub fn principals_files(&self) -> impl Iterator<Item = &str> {
        self.policy.clusters().iter().filter_map(|cluster| cluster.principals_file.as_deref())
    }
}

/// Which interfaces are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// All but loopback, container ends and ports of bridges and bonds.
    Auto,
    /// These names, whether they exist yet or not.
    Named(Vec<String>),
}

/// What becomes of logins without a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OtherLogins {
    /// They are let in, unpinned.
    #[default]
    Allow,
    /// They are denied `no_certificate`, but for break-glass keys.
    Deny,
}

/// What becomes of a cut session's processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCut {
    /// They go on, without their terminal.
    #[default]
    Keep,
    /// The session's cgroup is killed.
    Kill,
}

/// A source with `denials` denials within `within` is kept out for `lasting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Penalties {
    /// How many denials; 0 turns penalties off.
    pub denials: u32,
    /// Within which time.
    pub within: Duration,
    /// For how long new connections are dropped.
    pub lasting: Duration,
}

impl Default for Penalties {
    fn default() -> Self {
        Self { denials: 20, within: Duration::from_secs(60), lasting: Duration::from_secs(60) }
    }
}
