//! What the daemon looks up when somebody asks for its metrics.

use super::{Daemon, lock};
use crate::datapath::capacity;
use agent_ebpf::{ABI_VERSION, Reason};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::hash::Hash;
use std::time::Instant;

/// A label and its value.
type Label = (&'static str, String);

impl Daemon {
    /// All metrics as OpenMetrics text.
    pub(super) fn metrics(&self) -> Result<String, String> {
        let mut registry = Registry::with_prefix("cotter");
        self.audit.tally().register(&mut registry);
        self.packet_metrics(&mut registry)
            .and_then(|()| self.interface_metrics(&mut registry))
            .and_then(|()| self.session_metrics(&mut registry))
            .map_err(|error| format!("the maps cannot be read: {error}"))?;
        self.agent_metrics(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn packet_metrics(&self, registry: &mut Registry) -> Result<(), crate::datapath::Error> {
        let (packets, overruled) = (Family::default(), Family::default());
        let counters = self.tables.counters()?;
        for reason in Reason::ALL {
            let labels = [label("action", reason.action().name()), label("reason", reason.name())];
            count(&packets, labels, counters.of(reason));
            if reason.action() == agent_ebpf::Action::Drop {
                count(&overruled, [label("reason", reason.name())], counters.overruled(reason));
            }
        }
        registry.register("packets", "Packets judged since the node booted", packets);
        registry.register("packets_overruled", "Packets that audit mode let pass", overruled);
        Ok(())
    }

    fn interface_metrics(&self, registry: &mut Registry) -> Result<(), crate::datapath::Error> {
        let (drops, covered, uncovered) = (Family::default(), Family::default(), Family::default());
        let coverage = lock(&self.coverage);
        for attachment in &coverage.attachments {
            let method = attachment.method.name();
            let labels = [label("interface", &attachment.interface), label("method", method)];
            count(&drops, labels.clone(), self.tables.interface_drops(attachment.index)?);
            gauge(&covered, labels, 1);
        }
        // Interfaces that nobody wants covered may be as many as there are containers, and are no more than a number.
        let mut left_out = 0;
        for interface in &coverage.not_covered {
            match interface.cause.fault() {
                Some(cause) => {
                    gauge(&uncovered, [label("interface", &interface.interface), label("cause", cause)], 1);
                }
                None => left_out += 1,
            }
        }
        drop(coverage);
        registry.register("interface_drops", "Packets dropped by interface and way of attaching", drops);
        registry.register("interface_covered", "Interfaces whose packets are judged", covered);
        registry.register(
            "interface_not_covered",
            "Interfaces whose packets should be judged and may not be",
            uncovered,
        );
        single(registry, "interfaces_left_out", "Interfaces that the configuration leaves out", left_out);
        Ok(())
    }

    fn session_metrics(&self, registry: &mut Registry) -> Result<(), crate::datapath::Error> {
        let max = self.config().max_sessions;
        let (entries, room) = (Family::default(), Family::default());
        let tables = [
            // What logins go by: accounts have room of their own there.
            ("SESSIONS", self.sessions.len(), u64::from(max)),
            ("FLOWS", self.sessions.connections().len(), capacity("FLOWS", max)),
            ("PENALTIES", self.tables.penalty_count()?, capacity("PENALTIES", max)),
            ("CGROUPS", self.tables.cgroups()?.len(), capacity("CGROUPS", max)),
            ("ENDPOINTS", self.tables.endpoint_count()?, capacity("ENDPOINTS", max)),
            ("GRANTS", self.sessions.grants().0, capacity("GRANTS", max)),
            ("NEVER_DROP", self.config().never_drop.len(), capacity("NEVER_DROP", max)),
        ];
        for (table, used, most) in tables {
            gauge(&entries, [label("map", table)], used as u64);
            gauge(&room, [label("map", table)], most);
        }
        single(
            registry,
            "endpoints_held",
            "Whether what sessions open for others to reach is held to their pins",
            u64::from(lock(&self.endpoints_error).is_none()),
        );
        registry.register("map_entries", "Entries of the kernel's maps", entries);
        registry.register("map_capacity", "Most entries of the kernel's maps", room);
        single(
            registry,
            "unmanaged_connections",
            "Connections older than the agent",
            lock(&self.strangers).unmanaged().len() as u64,
        );
        let sessions = Family::default();
        for (how, number) in self.sessions.by_observation() {
            gauge(&sessions, [label("observed", &how)], number);
        }
        registry.register("sessions", "Sessions by how their users' addresses are known", sessions);
        single(registry, "relayed_connections", "Connections of balancers", self.relayed.count() as u64);
        single(registry, "locks", "Locks in force", self.locks().list().len() as u64);
        Ok(())
    }

    fn agent_metrics(&self, registry: &mut Registry) {
        let config = self.config();
        let build = [label("version", env!("CARGO_PKG_VERSION")), label("abi", &ABI_VERSION.to_string())];
        registry.register("build", "The agent's version and that of its maps", Info::new(build));
        let loaded = [label("hash", &config.hash)];
        registry.register("config", "The configuration in force", Info::new(loaded));
        let mode = Family::default();
        let in_force = lock(&self.mode).at(Instant::now());
        for one in [pinning::Mode::Enforce, pinning::Mode::Audit, pinning::Mode::Off] {
            gauge(&mode, [label("mode", &one.to_string())], u64::from(one == in_force));
        }
        registry.register("mode", "The mode in force is 1", mode);
        single(
            registry,
            "reload_refused",
            "Whether the latest reload was refused",
            u64::from(lock(&self.reload_error).is_some()),
        );
        if let Some(following) = self.following() {
            let help = "The version of the authority's policy in force; 0: none";
            single(registry, "authority_policy_version", help, following.version.unwrap_or(0));
            let help = "When the authority last answered, in Unix time; 0: not since the agent's start";
            single(registry, "authority_heard_time_seconds", help, following.heard_at.unwrap_or(0));
            let help = "Whether the latest try to follow the authority failed";
            single(registry, "authority_follow_failed", help, u64::from(following.error.is_some()));
        }
        let takeovers = Counter::<u64>::default();
        takeovers.inc_by(self.takeovers);
        registry.register(
            "takeovers",
            "How often an agent went on with an earlier one's sessions",
            takeovers,
        );
        single(registry, "start_time_seconds", "When the agent started, in Unix time", self.started_at);
    }
}

fn label(name: &'static str, value: &str) -> Label {
    (name, value.to_owned())
}

fn single(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn count<L: Clone + Hash + Eq>(family: &Family<L, Counter>, labels: L, value: u64) {
    family.get_or_create(&labels).inc_by(value);
}

fn gauge<L: Clone + Hash + Eq + EncodeLabelSet>(family: &Family<L, Gauge>, labels: L, value: u64) {
    family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
}
