//! `[[gate]]`: ports of the node's own services that answer only to addresses with a live pinned session here.

use super::load::Source;
use super::{ConfigError, Knocks, RelayPort};
use agent_ebpf::{Gates, Protocol};
use ipnet::IpNet;
use pinning::Policy;
use serde::Deserialize;
use toml::Spanned;

/// Most ports of all gates together.
const MOST_PORTS: usize = 4096;

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The ports that it stands before, in order.
    pub numbers: Vec<u16>,
    /// Of which protocols.
    pub protocol: GatedProtocol,
    /// Whose sessions open it; absent: all pinned ones.
    pub roles: Option<Vec<String>>,
}

/// The protocols of a gate's ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatedProtocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// Both.
    Any,
}

impl GatedProtocol {
    const fn protocols(self) -> &'static [Protocol] {
        match self {
            Self::Tcp => &[Protocol::Tcp],
            Self::Udp => &[Protocol::Udp],
            Self::Any => &[Protocol::Tcp, Protocol::Udp],
        }
    }

    /// The word that the configuration uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Any => "any",
        }
    }
}

impl Gate {
    /// Each port of each protocol.
    pub fn ports(&self) -> impl Iterator<Item = (Protocol, u16)> {
        let numbers = |protocol: &Protocol| {
            self.numbers.iter().map({
                let protocol = *protocol;
                move |number| (protocol, *number)
            })
        };
        self.protocol.protocols().iter().flat_map(numbers)
    }

    /// Whether a pinned session with these roles opens it.
    pub(crate) fn opens_to(&self, roles: &[String]) -> bool {
        self.roles.as_ref().is_none_or(|wanted| wanted.iter().any(|role| roles.contains(role)))
    }
}

/// A `[[gate]]` as serde reads it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GateTable {
    ports: Spanned<Vec<Numbers>>,
    #[serde(default)]
    protocol: GatedProtocol,
    roles: Option<Vec<Spanned<String>>>,
}

/// A port, or a range of ports such as `"8000-8010"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Numbers {
    One(u16),
    Range(String),
}

/// What else decides whether a gate is right.
pub(super) struct Around<'c> {
    pub(super) policy: &'c Policy,
    /// Roles may come with the policy that is followed.
    pub(super) follows: bool,
    pub(super) login_ports: &'c [u16],
    /// Where balancers connect.
    pub(super) relay_ports: &'c [RelayPort],
    pub(super) knocks: Option<&'c Knocks>,
    /// Whether somebody gets past a gate before a login port.
    pub(super) has_way_in: bool,
}

/// Whether an administrator gets in from somewhere: loopback is nobody's way in.
pub(super) fn is_way_in(never_drop: &[IpNet]) -> bool {
    never_drop.iter().any(|network| !network.network().is_loopback())
}

/// The gates of all files, in their order.
pub(super) fn gates(sources: &[Source], around: &Around<'_>) -> Result<Vec<Gate>, ConfigError> {
    let mut gates = Vec::new();
    for source in sources {
        for table in &source.file.gate {
            gates.push(gate(source, table, around)?);
            let ports: usize = gates.iter().map(|gate: &Gate| gate.ports().count()).sum();
            if gates.len() > Gates::MOST || ports > MOST_PORTS {
                let why = format!("there are at most {} gates, with {MOST_PORTS} ports in all", Gates::MOST);
                return Err(source.error(table, why));
            }
        }
    }
    Ok(gates)
}

fn gate(source: &Source, table: &Spanned<GateTable>, around: &Around<'_>) -> Result<Gate, ConfigError> {
    let GateTable { ports, protocol, roles } = table.as_ref();
    let gate = Gate {
        numbers: numbers(source, ports)?,
        protocol: *protocol,
        roles: roles.as_ref().map(|roles| roles.iter().map(|role| role.as_ref().clone()).collect()),
    };
    if let Some([]) = roles.as_deref() {
        return Err(source.error(table, "`roles` of a gate is an empty list: it would open to nobody"));
    }
    let mut known = roles.iter().flatten();
    if let Some(role) = known.find(|role| !around.follows && around.policy.role(role.as_ref()).is_none()) {
        let why = format!("role \"{}\" of a gate is in no file of roles_dir", role.as_ref());
        return Err(source.error(role, why));
    }
    if let Some((_, port)) = gate.ports().find(|(protocol, port)| is_knocked_at(around, *protocol, *port)) {
        let why =
            format!("port {port} is where knocks are heard, which are for those who have no session yet");
        return Err(source.error(ports, why));
    }
    if let Some((_, port)) = gate.ports().find(|(protocol, port)| {
        *protocol == Protocol::Tcp && around.relay_ports.iter().any(|relay| relay.port == *port)
    }) {
        let why = format!("port {port} is a [[relay_port]]: balancers connect there, who have no session");
        return Err(source.error(ports, why));
    }
    let login =
        gate.ports().find(|(protocol, port)| *protocol == Protocol::Tcp && around.login_ports.contains(port));
    if let Some((_, port)) = login.filter(|_| !around.has_way_in) {
        let why = format!(
            "nobody could log in: port {port} is a login port, and a gate before it opens only where a session is; \
             add a [knock], or `never_drop` for administrators"
        );
        return Err(source.error(ports, why));
    }
    Ok(gate)
}

fn is_knocked_at(around: &Around<'_>, protocol: Protocol, port: u16) -> bool {
    around.knocks.is_some_and(|knocks| knocks.port == port && (protocol == Protocol::Udp || knocks.tcp))
}

/// The ports of a gate, each once.
fn numbers(source: &Source, ports: &Spanned<Vec<Numbers>>) -> Result<Vec<u16>, ConfigError> {
    let mut numbers = Vec::new();
    for entry in ports.as_ref() {
        match entry {
            Numbers::One(port) => numbers.push(*port),
            Numbers::Range(text) => {
                let ends = text.split_once('-');
                let parsed =
                    ends.and_then(|(from, to)| Some((from.trim().parse().ok()?, to.trim().parse().ok()?)));
                let Some((from, to)) = parsed.filter(|(from, to): &(u16, u16)| from <= to) else {
                    let why = format!("\"{text}\" is not a range of ports such as \"8000-8010\"");
                    return Err(source.error(ports, why));
                };
                numbers.extend(from..=to);
            }
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    match numbers.first() {
        None => Err(source.error(ports, "`ports` of a gate is empty: it would stand before nothing")),
        Some(0) => Err(source.error(ports, "a gate has port 0, which nothing can listen on")),
        Some(_) => Ok(numbers),
    }
}
