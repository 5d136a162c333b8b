//! `[[relay_port]]`: ports at which balancers hand connections on to sshd, and say whose they are.

use super::load::Source;
use super::{ConfigError, Knocks};
use ipnet::IpNet;
use pinning::Address;
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;
use toml::Spanned;

/// Most of them.
const MOST_PORTS: usize = 16;
/// Most trusted networks of one.
const MOST_PROXIES: usize = 256;

/// A port where connections begin with a PROXY protocol header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayPort {
    /// The TCP port that balancers connect to.
    pub port: u16,
    /// Whose headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// The port of the node's own sshd.
    pub login_port: u16,
}

/// What the relay goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayConfig {
    /// Where it listens, and to whom.
    pub relay_ports: Vec<RelayPort>,
    /// Whether there are bastions whose connections the kernel leads to it.
    pub trusts_relays: bool,
    /// Where the agent's sockets are.
    pub runtime_dir: PathBuf,
}

impl RelayPort {
    /// Whether what this address says of others counts.
    #[must_use]
    pub fn trusts(&self, proxy: Address) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&proxy.ip()))
    }

    /// Whether this very address is listed, and not only a network that it is in.
    #[must_use]
    pub fn names(&self, proxy: Address) -> bool {
        self.trusted_proxies.contains(&IpNet::from(proxy.ip()))
    }
}

/// A `[[relay_port]]` as serde reads it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RelayPortTable {
    port: Spanned<u16>,
    trusted_proxies: Spanned<Vec<Spanned<String>>>,
    login_port: Option<Spanned<u16>>,
}

/// The relay ports of all files, in their order.
pub(super) fn relay_ports(
    sources: &[Source],
    login_ports: &[u16],
    knocks: Option<&Knocks>,
) -> Result<Vec<RelayPort>, ConfigError> {
    let mut ports: Vec<RelayPort> = Vec::new();
    for source in sources {
        for table in &source.file.relay_port {
            let port = relay_port(source, table.as_ref(), login_ports)?;
            let key = &table.as_ref().port;
            if ports.iter().any(|other| other.port == port.port) {
                return Err(source.error(key, format!("port {} is a relay port already", port.port)));
            }
            if knocks.is_some_and(|knocks| knocks.tcp && knocks.port == port.port) {
                let why = format!("port {} is where knocks are heard, over TCP too", port.port);
                return Err(source.error(key, why));
            }
            ports.push(port);
            if ports.len() > MOST_PORTS {
                return Err(source.error(key, format!("there are at most {MOST_PORTS} relay ports")));
            }
        }
    }
    Ok(ports)
}

fn relay_port(
    source: &Source,
    table: &RelayPortTable,
    login_ports: &[u16],
) -> Result<RelayPort, ConfigError> {
    let port = *table.port.get_ref();
    if port == 0 {
        return Err(source.error(&table.port, "`port` is 0, which nothing can listen on"));
    }
    if login_ports.contains(&port) {
        let why = format!("port {port} is one of `login_ports`, where sshd listens itself");
        return Err(source.error(&table.port, why));
    }
    let login_port = match &table.login_port {
        Some(named) if !login_ports.contains(named.get_ref()) => {
            let why = format!("`login_port` {} is none of `login_ports`", named.get_ref());
            return Err(source.error(named, why));
        }
        Some(named) => *named.get_ref(),
        None => login_ports.first().copied().unwrap_or(22),
    };
    Ok(RelayPort { port, trusted_proxies: trusted(source, &table.trusted_proxies)?, login_port })
}

fn trusted(source: &Source, named: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<IpNet>, ConfigError> {
    let count = named.get_ref().len();
    if !(1..=MOST_PROXIES).contains(&count) {
        let why = format!("`trusted_proxies` names 1 to {MOST_PROXIES} balancers, not {count}");
        return Err(source.error(named, why));
    }
    named.get_ref().iter().map(|text| believed(source, text)).collect()
}

/// A network, or one address, of those whose word on others counts.
pub(super) fn believed(source: &Source, text: &Spanned<String>) -> Result<IpNet, ConfigError> {
    let network: Result<IpNet, _> = text.get_ref().parse();
    let network =
        network.or_else(|error| text.get_ref().parse::<IpAddr>().map(IpNet::from).map_err(|_no| error));
    match network {
        // Whoever is everybody vouches for nobody.
        Ok(network) if network.prefix_len() == 0 => {
            let why = format!("{network} trusts everybody, who could then say to be anywhere");
            Err(source.error(text, why))
        }
        Ok(network) => Ok(network.trunc()),
        Err(error) => Err(source.error(text, format!("{:?}: {error}", text.get_ref()))),
    }
}
