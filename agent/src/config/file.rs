//! The shape of one configuration file, as serde reads it: every key optional, every unknown key an error.

use pinning::{OnExpiry, RoleMapEntry, RolesFrom};
use serde::Deserialize;
use std::path::PathBuf;
use toml::Spanned;

/// One of `agent.toml`, `agent.d/*.toml`; keys as in the manual.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) interfaces: Option<Spanned<Interfaces>>,
    pub(super) attach: Option<super::AttachMode>,
    pub(super) tc_hook: Option<super::TcHook>,
    pub(super) mode: Option<pinning::Mode>,
    pub(super) login_ports: Option<Spanned<Vec<u16>>>,
    pub(super) login_grace_time: Option<Spanned<u64>>,
    pub(super) roles_dir: Option<PathBuf>,
    pub(super) never_drop: Option<Vec<Spanned<String>>>,
    pub(super) principals_file: Option<Spanned<String>>,
    pub(super) other_logins: Option<super::OtherLogins>,
    pub(super) on_cut: Option<super::OnCut>,
    pub(super) event_log: Option<PathBuf>,
    pub(super) runtime_dir: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) bpf_pin_dir: Option<PathBuf>,
    pub(super) read_group: Option<Spanned<String>>,
    pub(super) metrics: Option<Spanned<String>>,
    pub(super) max_sessions: Option<Spanned<u32>>,
    pub(super) max_sessions_per_person: Option<Spanned<u32>>,
    pub(super) kernel_log: Option<super::KernelLog>,
    pub(super) sessions_cgroup: Option<Spanned<String>>,
    pub(super) sshd_paths: Option<Vec<PathBuf>>,
    pub(super) penalties: Option<Spanned<Penalties>>,
    pub(super) authority: Option<Spanned<AuthorityTable>>,
    pub(super) knock: Option<Spanned<KnockTable>>,
    pub(super) vouch: Option<Spanned<super::vouch::VouchTable>>,
    #[serde(default)]
    pub(super) gate: Vec<Spanned<super::gate::GateTable>>,
    #[serde(default)]
    pub(super) relay_port: Vec<Spanned<super::relay::RelayPortTable>>,
    #[serde(default)]
    pub(super) trusted_relay: Vec<Spanned<super::trusted_relay::TrustedRelayTable>>,
    #[serde(default)]
    pub(super) cluster: Vec<Spanned<ClusterTable>>,
    #[serde(default)]
    pub(super) trusted_cluster: Vec<Spanned<ClusterTable>>,
}

/// `"auto"` or a list of interface names.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Interfaces {
    Word(String),
    Names(Vec<String>),
}

/// `[penalties]`: when a source that keeps being denied is kept out for a while.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Penalties {
    pub(super) denials: Option<u32>,
    pub(super) within_seconds: Option<u64>,
    pub(super) seconds: Option<u64>,
}

/// `[authority]`: whose policy is followed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthorityTable {
    pub(super) url: Spanned<String>,
    pub(super) key: Spanned<Keys>,
    pub(super) fingerprint: Option<Spanned<String>>,
    pub(super) ca_file: Option<Spanned<PathBuf>>,
    pub(super) cluster: Option<String>,
    pub(super) on_expiry: Option<OnExpiry>,
}

/// `[knock]`: where the node listens for knocks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KnockTable {
    pub(super) port: Spanned<u16>,
    pub(super) tcp: Option<bool>,
    pub(super) secret: Option<Spanned<PathBuf>>,
    pub(super) host_keys: Option<Spanned<Vec<Spanned<PathBuf>>>>,
}

/// One key, or a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Keys {
    One(String),
    Several(Vec<String>),
}

/// `[[cluster]]` and `[[trusted_cluster]]`; the latter must have a role map.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterTable {
    pub(super) name: Spanned<String>,
    pub(super) user_ca: Spanned<PathBuf>,
    pub(super) roles_from: RolesFrom,
    #[serde(default)]
    pub(super) default_roles: Vec<Spanned<String>>,
    pub(super) on_expiry: Option<OnExpiry>,
    pub(super) principals_file: Option<Spanned<String>>,
    pub(super) role_map: Option<Spanned<Vec<RoleMapEntry>>>,
}
