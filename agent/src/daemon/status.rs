//! What is in force, for `status`.

use super::call::{
    ClusterStatus, GateStatus, KnocksStatus, PacketCount, RelayPortStatus, RelayStatus, Status,
};
use super::{Daemon, lock};
use crate::config::{Config, Gate, Knocks, RelayPort};
use agent_ebpf::Reason;
use pinning::Cluster;
use std::time::Instant;

impl Daemon {
    /// Everything in one answer.
    pub(super) fn status(&self) -> Status {
        let config = self.config();
        let (attachments, not_covered) = self.coverage();
        // One after the other: a temporary of the answer below would hold its lock until the answer is complete.
        let mode = lock(&self.mode).in_force(Instant::now());
        let reload_error = lock(&self.reload_error).clone();
        let unmanaged = lock(&self.strangers).unmanaged().len();
        let locks = self.locks().list().len();
        let (grants, knocked) = self.sessions.grants();
        let endpoints_error = lock(&self.endpoints_error).clone();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started_at,
            takeover: self.takeover.clone(),
            mode,
            config_hash: config.hash.clone(),
            config_loaded_at: config.loaded_at,
            reload_error,
            clusters: config.policy.clusters().iter().map(cluster).collect(),
            following: self.following(),
            roles: config.policy.roles().count(),
            other_logins: config.other_logins,
            login_ports: config.login_ports.clone(),
            gates: config.gates.iter().map(gate).collect(),
            relay: self.relay(&config),
            vouching: self.vouching_status(),
            grants,
            knocked,
            attachments,
            not_covered,
            endpoints_error,
            knocks: config.knocks.as_ref().map(|knocks| self.knocks(knocks)),
            sessions: self.sessions.len(),
            max_sessions: config.max_sessions,
            unmanaged,
            locks,
            penalties: self.penalties.list().len(),
            packets: self.packets(),
        }
    }

    fn relay(&self, config: &Config) -> Option<RelayStatus> {
        let ports: Vec<_> = config.relay_ports.iter().map(relay_port).collect();
        let bastions: Vec<_> = config.trusted_relays.iter().map(|relay| relay.name.clone()).collect();
        let (connections, error) = (self.relayed.count(), self.way_back_error());
        let listens = self.relayed.listens();
        let steer_error = self.relayed.steer_error();
        let is_any = !ports.is_empty() || !bastions.is_empty();
        is_any.then_some(RelayStatus { ports, bastions, listens, steer_error, connections, error })
    }

    fn knocks(&self, knocks: &Knocks) -> KnocksStatus {
        let (accepted, refused) = self.audit.tally().knocks();
        let error = lock(&self.knocks_error).clone();
        KnocksStatus {
            port: knocks.port,
            tcp: knocks.tcp,
            host_keys: knocks.host_keys.len(),
            accepted,
            refused,
            error,
            left_open: self.left_open(&self.config()),
        }
    }

    fn packets(&self) -> Vec<PacketCount> {
        let counters = match self.tables.counters() {
            Ok(counters) => counters,
            Err(error) => {
                tracing::error!("counters cannot be read: {error}");
                return Vec::new();
            }
        };
        let count = |reason: Reason| PacketCount {
            reason: reason.name().to_owned(),
            action: reason.action().name().to_owned(),
            packets: counters.of(reason),
            overruled: counters.overruled(reason),
        };
        Reason::ALL.into_iter().map(count).collect()
    }
}

fn relay_port(relay: &RelayPort) -> RelayPortStatus {
    RelayPortStatus {
        port: relay.port,
        login_port: relay.login_port,
        trusted_proxies: relay.trusted_proxies.iter().map(ToString::to_string).collect(),
    }
}

fn gate(gate: &Gate) -> GateStatus {
    GateStatus {
        ports: gate.numbers.clone(),
        protocol: gate.protocol.name().to_owned(),
        roles: gate.roles.clone(),
    }
}

fn cluster(cluster: &Cluster) -> ClusterStatus {
    ClusterStatus {
        name: cluster.name.clone(),
        trusted: cluster.role_map.is_some(),
        ca_keys: cluster.user_ca.len(),
        roles_from: cluster.roles_from,
        on_expiry: cluster.on_expiry,
    }
}
