//! `[vouch]`: this node is a bastion, and vouches to other nodes for where its users are.

use super::ConfigError;
use super::load::Source;
use super::relay::believed;
use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

/// Most networks of nodes.
const MOST_NODES: usize = 256;
/// Most of their ports.
const MOST_PORTS: usize = 16;

/// To whom it vouches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouching {
    /// Nodes, by their addresses.
    pub nodes: Vec<IpNet>,
    /// Their login ports.
    pub ports: Vec<u16>,
}

/// `[vouch]` as serde reads it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VouchTable {
    nodes: Spanned<Vec<Spanned<String>>>,
    ports: Option<Spanned<Vec<u16>>>,
}

/// The last `[vouch]` of the files.
pub(super) fn vouching(sources: &[Source]) -> Result<Option<Vouching>, ConfigError> {
    let found = sources.iter().rev().find_map(|source| source.file.vouch.as_ref().map(|it| (source, it)));
    let Some((source, table)) = found else { return Ok(None) };
    let VouchTable { nodes, ports } = table.as_ref();
    let count = nodes.get_ref().len();
    if !(1..=MOST_NODES).contains(&count) {
        return Err(source.error(nodes, format!("`nodes` names 1 to {MOST_NODES} networks, not {count}")));
    }
    let ports = match ports {
        None => vec![22],
        Some(named) if !(1..=MOST_PORTS).contains(&named.get_ref().len()) || named.get_ref().contains(&0) => {
            return Err(source.error(named, format!("`ports` names 1 to {MOST_PORTS} ports, and not 0")));
        }
        Some(named) => named.get_ref().clone(),
    };
    let nodes = nodes.get_ref().iter().map(|text| believed(source, text)).collect::<Result<_, _>>()?;
    Ok(Some(Vouching { nodes, ports }))
}
