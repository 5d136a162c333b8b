//! `status`: in one screen, what is in force.

use super::exit::Failure;
use super::output::Colour;
use super::{Common, Exit, client, coverage, mode, output};
use crate::config::OtherLogins;
use crate::daemon::call::{
    Answer, Call, ClusterStatus, FollowingStatus, GateStatus, KnocksStatus, RelayStatus, Status,
    VouchingStatus,
};
use pinning::{Mode, OnExpiry, RolesFrom};

/// Columns of the screen.
const WIDTH: usize = 80;
/// Columns of a fact's name.
const NAME: usize = 15;
/// Clusters, and interfaces at fault, that get a line of their own.
const TOLD: usize = 4;

pub(super) fn status(common: &Common) -> Result<Exit, Failure> {
    let answer = client::call(common, &Call::Status)?;
    let Answer::Status(status) = answer else { return Err(client::unexpected(&answer)) };
    if common.json {
        output::json(&status);
    } else {
        for (colour, line) in screen(&status) {
            output::coloured(colour, &line);
        }
    }
    Ok(Exit::Done)
}

/// The lines from top to bottom.
fn screen(status: &Status) -> Vec<(Colour, String)> {
    let facts = in_force(status).into_iter().chain(coverage(status)).chain(present(status));
    let mut lines: Vec<_> = facts.flat_map(Fact::lines).collect();
    lines.extend(drops(status).into_iter().map(|line| (Colour::Plain, line)));
    lines
}

/// One thing that is so.
struct Fact {
    name: &'static str,
    value: String,
    colour: Colour,
}

impl Fact {
    fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), colour: Colour::Plain }
    }

    fn coloured(self, colour: Colour) -> Self {
        Self { colour, ..self }
    }

    /// Its lines: a value that is too long goes on below itself.
    fn lines(self) -> Vec<(Colour, String)> {
        let (mut lines, mut line) = (Vec::new(), format!("{:<NAME$}", self.name));
        let mut width = NAME;
        for word in self.value.split_whitespace() {
            let word_width = word.chars().count();
            if width > NAME && width + 1 + word_width > WIDTH {
                lines.push(std::mem::replace(&mut line, " ".repeat(NAME)));
                width = NAME;
            }
            if width > NAME {
                line.push(' ');
                width += 1;
            }
            line.push_str(word);
            width += word_width;
        }
        lines.push(line);
        lines.into_iter().map(|line| (self.colour, line)).collect()
    }
}

/// What the configuration and commands ask for.
fn in_force(status: &Status) -> Vec<Fact> {
    let colour = match status.mode.mode {
        Mode::Enforce => Colour::Good,
        Mode::Audit => Colour::Doubtful,
        Mode::Off => Colour::Bad,
    };
    let agent = format!("{}, pid {}, since {}", status.version, status.pid, output::time(status.started_at));
    let loaded = format!("{}, {}", output::time(status.config_loaded_at), counted(status.roles, "role"));
    let ports: Vec<String> = status.login_ports.iter().map(u16::to_string).collect();
    let mut facts = vec![
        Fact::new("mode", mode::sentence(&status.mode)).coloured(colour),
        Fact::new("agent", agent),
        Fact::new("took over", &*status.takeover),
        Fact::new("configuration", &*status.config_hash),
        Fact::new("loaded", loaded),
    ];
    if let Some(error) = &status.reload_error {
        facts.push(Fact::new("not reloaded", error).coloured(Colour::Bad));
    }
    if let Some(error) = &status.endpoints_error {
        facts.push(Fact::new("endpoints", format!("not held: {error}")).coloured(Colour::Bad));
    }
    facts.extend(status.following.iter().flat_map(following));
    facts.extend(clusters(&status.clusters));
    facts.push(Fact::new("other logins", other_logins(status)));
    facts.push(Fact::new("login ports", coverage::folded(&ports)));
    facts.extend(status.gates.iter().take(TOLD).map(|it| Fact::new("gate", gate(it))));
    facts.extend(more(status.gates.len()).map(|more| Fact::new("gate", more)));
    facts.extend(status.relay.iter().flat_map(relay));
    facts.extend(status.vouching.iter().flat_map(vouching));
    facts.extend(status.knocks.iter().map(knocks));
    facts
}

fn following(following: &FollowingStatus) -> Vec<Fact> {
    let policy = match (following.version, &following.cluster) {
        (Some(version), Some(cluster)) => format!("version {version} of {cluster}"),
        _ => "no policy yet".to_owned(),
    };
    let heard = following
        .heard_at
        .map_or_else(|| "nothing heard yet".to_owned(), |at| format!("heard {}", output::time(at)));
    let colour = if following.version.is_none() { Colour::Bad } else { Colour::Plain };
    let fact = Fact::new("authority", format!("{}, {policy}, {heard}", following.url)).coloured(colour);
    let error = following.error.as_ref().map(|error| Fact::new("", error).coloured(Colour::Bad));
    let left_out = (!following.left_out.is_empty()).then(|| {
        let names = coverage::folded(&following.left_out);
        Fact::new("", format!("this node's own files overrule {names}")).coloured(Colour::Doubtful)
    });
    [Some(fact), error, left_out].into_iter().flatten().collect()
}

fn clusters(clusters: &[ClusterStatus]) -> Vec<Fact> {
    if clusters.is_empty() {
        return vec![Fact::new("cluster", "none: no certificate is accepted").coloured(Colour::Doubtful)];
    }
    let mut facts: Vec<Fact> =
        clusters.iter().take(TOLD).map(|it| Fact::new("cluster", cluster(it))).collect();
    facts.extend(more(clusters.len()).map(|more| Fact::new("cluster", more)));
    facts
}

fn cluster(cluster: &ClusterStatus) -> String {
    let trusted = if cluster.trusted { "trusted, " } else { "" };
    let keys = counted(cluster.ca_keys, "CA key");
    let roles_from = match cluster.roles_from {
        RolesFrom::Cotter => "cotter",
        RolesFrom::Teleport => "teleport",
        RolesFrom::Default => "default",
    };
    let on_expiry = match cluster.on_expiry {
        OnExpiry::Cut => "cut",
        OnExpiry::Keep => "keep",
    };
    format!("{}: {trusted}{keys}, roles_from {roles_from}, on_expiry {on_expiry}", cluster.name)
}

fn gate(gate: &GateStatus) -> String {
    let ports: Vec<String> = gate.ports.iter().map(u16::to_string).collect();
    let protocol = if gate.protocol == "any" { "tcp and udp" } else { &*gate.protocol };
    let whose = match &gate.roles {
        Some(roles) => format!("pinned sessions of {}", coverage::folded(roles)),
        None => "all pinned sessions".to_owned(),
    };
    format!("{protocol} {}, open to {whose}", coverage::folded(&ports))
}

fn relay(relay: &RelayStatus) -> Vec<Fact> {
    let mut facts: Vec<Fact> = relay
        .ports
        .iter()
        .map(|port| {
            let from = coverage::folded(&port.trusted_proxies);
            Fact::new("relay", format!("port {} to sshd at {}, for {from}", port.port, port.login_port))
        })
        .collect();
    if !relay.bastions.is_empty() {
        let families: Vec<&str> = relay.listens.iter().map(|family| family.name()).collect();
        let state = if families.is_empty() {
            "NO RELAY is there, nobody gets in by them: systemctl start cotter-relay".to_owned()
        } else {
            format!("led to the relay ({})", families.join(", "))
        };
        facts.push(Fact::new("bastions", format!("{}: {state}", relay.bastions.join(", "))));
        let error = relay.steer_error.as_ref();
        facts.extend(
            error.map(|error| Fact::new("", format!("not led there: {error}")).coloured(Colour::Bad)),
        );
    }
    facts.push(Fact::new("", format!("{} now", counted(relay.connections, "connection"))));
    facts.extend(relay.error.as_ref().map(|error| {
        Fact::new("", format!("sshd's answers do not find back: {error}")).coloured(Colour::Bad)
    }));
    facts
}

fn vouching(vouching: &VouchingStatus) -> Vec<Fact> {
    let ports: Vec<String> = vouching.ports.iter().map(u16::to_string).collect();
    let (nodes, ports) = (coverage::folded(&vouching.nodes), coverage::folded(&ports));
    let error = vouching.error.as_ref().map(|error| Fact::new("", error).coloured(Colour::Bad));
    let fact = Fact::new("vouches", format!("for its users at {nodes}, port {ports}"));
    [Some(fact), error].into_iter().flatten().collect()
}

fn other_logins(status: &Status) -> &'static str {
    match (status.other_logins, status.mode.mode) {
        (OtherLogins::Allow, _) => "allow",
        (OtherLogins::Deny, Mode::Enforce) => "deny, but for break-glass keys",
        (OtherLogins::Deny, Mode::Audit | Mode::Off) => "deny; until mode enforce they are let in",
    }
}

fn not_heard(knocks: &KnocksStatus, why: &str) -> Fact {
    let open = match knocks.left_open.as_slice() {
        [] => String::new(),
        ports => {
            let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            format!("; login port {ports} is open to everybody until they are")
        }
    };
    Fact::new("knocks", format!("not heard: {why}{open}")).coloured(Colour::Bad)
}

fn knocks(knocks: &KnocksStatus) -> Fact {
    let KnocksStatus { port, accepted, refused, .. } = knocks;
    let tcp = if knocks.tcp { " and TCP" } else { "" };
    match &knocks.error {
        Some(error) => not_heard(knocks, error),
        None if knocks.host_keys == 0 => not_heard(knocks, "no host key that they could be for"),
        None => {
            Fact::new("knocks", format!("at UDP{tcp} port {port}: {accepted} accepted, {refused} refused"))
        }
    }
}

/// The interfaces.
fn coverage(status: &Status) -> Vec<Fact> {
    let covered = match coverage::covered(status) {
        Some(covered) => Fact::new("covered", covered),
        None => Fact::new("covered", "no interface").coloured(Colour::Bad),
    };
    let faults = coverage::faults(status);
    let told = faults.iter().take(TOLD).cloned().chain(more(faults.len()));
    let faults = told.map(|fault| Fact::new("not covered", fault).coloured(Colour::Bad));
    let left_out = coverage::left_out(status).map(|names| Fact::new("left out", names));
    [covered].into_iter().chain(faults).chain(left_out).collect()
}

/// What is there at present.
fn present(status: &Status) -> Vec<Fact> {
    let sessions = format!("{} of at most {}", status.sessions, status.max_sessions);
    let unmanaged = Fact::new("unmanaged", counted(status.unmanaged, "connection"));
    let doubtful = if status.unmanaged > 0 { Colour::Doubtful } else { Colour::Plain };
    [Fact::new("sessions", sessions), unmanaged.coloured(doubtful)]
        .into_iter()
        .chain((!status.gates.is_empty()).then(|| Fact::new("grants", grants(status))))
        .chain([
            Fact::new("locks", status.locks.to_string()),
            Fact::new("penalties", status.penalties.to_string()),
        ])
        .collect()
}

/// To how many addresses gates are open, or would be if their sessions were in use.
fn grants(status: &Status) -> String {
    let knocked = if status.knocked > 0 { format!(", {} by knocks", status.knocked) } else { String::new() };
    let addresses = if status.grants == 1 { "address" } else { "addresses" };
    format!("{} {addresses}{knocked}", status.grants)
}

/// What was dropped, or would have been.
fn drops(status: &Status) -> Vec<String> {
    let counts: Vec<_> = status.drops().filter(|count| count.packets + count.overruled > 0).collect();
    if counts.is_empty() {
        return vec!["packets dropped none".to_owned()];
    }
    let heading = format!("{:<17} {:>12} {:>14}", "PACKETS", "DROPPED", "ONLY WATCHED");
    let rows = counts.iter().map(|it| format!("{:<17} {:>12} {:>14}", it.reason, it.packets, it.overruled));
    [String::new(), heading].into_iter().chain(rows).collect()
}

fn more(all: usize) -> Option<String> {
    (all > TOLD).then(|| format!("and {} more (see --json)", all - TOLD))
}

/// `1 role`, `2 roles`.
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut status = json!({
            "version": "0.1.0", "pid": 4711, "started_at": 1_700_000_000, "takeover": "went on with 2 sessions",
            "mode": { "mode": "enforce", "configured": "audit", "goes_back_to": "audit", "seconds_left": 42 },
            "config_hash": "0".repeat(64), "config_loaded_at": 1_700_000_000, "reload_error": null,
            "clusters": [{
                "name": "example.com", "trusted": false, "ca_keys": 2,
                "roles_from": "cotter", "on_expiry": "cut",
            }],
            "roles": 3, "other_logins": "deny", "login_ports": [22, 2222],
            "attachments": [{ "interface": "eth0", "method": "xdp" }, { "interface": "wg0", "method": "tcx" }],
            "not_covered": [{ "interface": "lo", "cause": "left_out", "why": "loopback" }],
            "sessions": 2, "max_sessions": 65536, "unmanaged": 0, "locks": 1, "penalties": 0,
            "packets": agent_ebpf::Reason::ALL.map(|reason| json!({
                "reason": reason.name(), "action": reason.action().name(), "packets": 7, "overruled": 0,
            })),
        });
        change(&mut status);
        let status = serde_json::from_value(status).unwrap();
        screen(&status).into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn an_ordinary_node_fits_on_a_screen() {
        let lines = node(|_| ());
        assert!(lines.len() <= 24, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        for expected in [
            "cluster        example.com: 2 CA keys, roles_from cotter, on_expiry cut",
            "other logins   deny, but for break-glass keys",
            "covered        wg0 by tcx; eth0 by xdp",
            "left out       lo: loopback",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
        }
        let text = lines.join("\n");
        assert!(text.contains("address_mismatch") && !text.contains("login_attempt"), "only drops: {text}");
    }

    #[test]
    fn many_interfaces_are_folded_and_those_at_fault_stand_first() {
        let lines = node(|status| {
            let left_out = (0..300).map(|number| {
                json!({ "interface": format!("veth{number}"), "cause": "left_out", "why": "virtual device" })
            });
            let fault = json!({ "interface": "eth1", "cause": "failed", "why": "no TCX and no clsact" });
            status["not_covered"] = left_out.chain([fault]).collect();
        });
        assert!(lines.len() <= node(|_| ()).len() + 2, "{lines:#?}");
        let fault =
            lines.iter().position(|line| line == "not covered    eth1: no TCX and no clsact").unwrap();
        assert!(lines[fault + 1].starts_with("left out       veth0, veth1, "), "{lines:#?}");
        assert!(lines.join(" ").contains(" and 294 more: virtual "), "{lines:#?}");
    }

    #[test]
    fn what_is_denied_only_in_enforce_is_said_so() {
        let lines = node(|status| status["mode"] = json!({ "mode": "audit", "configured": "audit" }));
        assert!(lines.contains(&"other logins   deny; until mode enforce they are let in".to_owned()));
    }
}
