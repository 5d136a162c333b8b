//! `[[trusted_relay]]`: bastions whose word on where their users are counts here.

use super::ConfigError;
use super::load::Source;
use super::relay::believed;
use cotter_vouch::RelayKey;
use ipnet::IpNet;
use pinning::Address;
use serde::Deserialize;
use toml::Spanned;

/// Most of them.
const MOST: usize = 64;
/// Most networks of one.
const MOST_ADDRESSES: usize = 64;
/// Longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// A bastion that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRelay {
    /// What it is called here.
    pub name: String,
    /// By which it vouches.
    pub key: RelayKey,
    /// Where its connections come from. What comes from there and is not vouched for is closed.
    pub addresses: Vec<IpNet>,
}

impl TrustedRelay {
    /// Whether its connections come from this address.
    #[must_use]
    pub fn is_at(&self, address: Address) -> bool {
        self.addresses.iter().any(|network| network.contains(&address.ip()))
    }
}

/// A `[[trusted_relay]]` as serde reads it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrustedRelayTable {
    name: Spanned<String>,
    key: Spanned<String>,
    addresses: Spanned<Vec<Spanned<String>>>,
}

/// The trusted relays of all files, in their order.
pub(super) fn trusted_relays(sources: &[Source]) -> Result<Vec<TrustedRelay>, ConfigError> {
    let mut relays: Vec<TrustedRelay> = Vec::new();
    for source in sources {
        for table in &source.file.trusted_relay {
            let table = table.as_ref();
            let relay = trusted_relay(source, table)?;
            if relays.iter().any(|other| other.name == relay.name) {
                let why = format!("there is a relay {:?} already", relay.name);
                return Err(source.error(&table.name, why));
            }
            let mut others =
                relays.iter().flat_map(|other| other.addresses.iter().map(move |it| (it, other)));
            let shared = others.find(|(theirs, _)| relay.addresses.iter().any(|ours| overlap(ours, theirs)));
            if let Some((address, other)) = shared {
                let why = format!("{address} is relay {:?} already: one address, one key", other.name);
                return Err(source.error(&table.addresses, why));
            }
            relays.push(relay);
            if relays.len() > MOST {
                return Err(source.error(&table.name, format!("there are at most {MOST} trusted relays")));
            }
        }
    }
    Ok(relays)
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn trusted_relay(source: &Source, table: &TrustedRelayTable) -> Result<TrustedRelay, ConfigError> {
    let name = table.name.get_ref();
    // It stands in logs, behind the word `relay`.
    let is_word = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic());
    if name.is_empty() || name.len() > LONGEST_NAME || !is_word(name) {
        let why = format!("`name` is a word of 1 to {LONGEST_NAME} bytes without spaces, not {name:?}");
        return Err(source.error(&table.name, why));
    }
    let key =
        table.key.get_ref().parse().map_err(|error| source.error(&table.key, format!("`key`: {error}")))?;
    let named = table.addresses.get_ref();
    if !(1..=MOST_ADDRESSES).contains(&named.len()) {
        let why = format!("`addresses` names 1 to {MOST_ADDRESSES} networks, not {}", named.len());
        return Err(source.error(&table.addresses, why));
    }
    let addresses = named.iter().map(|text| believed(source, text)).collect::<Result<_, _>>()?;
    Ok(TrustedRelay { name: name.clone(), key, addresses })
}
