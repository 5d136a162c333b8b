//! `[[node]]`: nodes that want a knock, as the machine's administrator or a person has written them down.

use std::num::NonZeroU16;
use std::path::PathBuf;

use cotter_knock::Fingerprint;
use serde::{Deserialize, Deserializer};

use crate::fleet::{self, Fleet};
use crate::knock::Destination;
use crate::pattern::Patterns;

/// What is said of some nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Which.
    pub hosts: Patterns,
    /// The UDP port at which they hear knocks; none: they want none.
    pub knock: Option<NonZeroU16>,
    /// They hear knocks over TCP, too.
    #[serde(default)]
    pub knock_tcp: bool,
    /// Their host key, if that is not left to `known_hosts`.
    #[serde(default, deserialize_with = "fingerprint")]
    pub host_key: Option<Fingerprint>,
}

/// What is said, in this order: of what fits a host, the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes(Vec<Node>);

/// A person's own file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    #[serde(default)]
    node: Vec<Node>,
}

impl Nodes {
    /// A person's own, then the fleet's.
    ///
    /// # Errors
    /// What is wrong with the person's file, in words.
    pub fn load(fleet: &Fleet) -> Result<Self, String> {
        let own: Own = own_path().map(|path| fleet::read(&path)).transpose()?.unwrap_or_default();
        Ok(Self(own.node.into_iter().chain(fleet.node.iter().cloned()).collect()))
    }

    /// Whether nothing is said of any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is said of a destination, by the name that was given or the one that this stands for.
    pub fn of(&self, destination: &Destination) -> Option<&Node> {
        let is_meant = |node: &&Node| node.hosts.fit(&[&destination.name, &destination.host]);
        self.0.iter().find(is_meant)
    }
}

/// `$XDG_CONFIG_HOME/cotter/client.toml`, else `~/.config/cotter/client.toml`.
fn own_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("cotter/client.toml"))
}

fn fingerprint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Fingerprint>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}
