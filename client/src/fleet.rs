//! `/etc/cotter/client.toml`: what an administrator sets for everybody on a machine; what people say themselves comes first.

use std::path::{Path, PathBuf};

use cotter_api::Place;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::node::Node;

/// Where it lies.
const PATH: &str = "/etc/cotter/client.toml";

/// What is set. Without an authority there is nothing to make it the right one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// Where people log in.
    pub authority: Option<Place>,
    /// What makes it the right one: the fingerprint of its certificate.
    pub fingerprint: Option<String>,
    /// Or who vouches for it: a PEM file.
    pub ca_file: Option<PathBuf>,
    /// What is said of nodes.
    #[serde(default)]
    pub node: Vec<Node>,
}

impl Fleet {
    /// Reads it; it need not be there.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn load() -> Result<Self, String> {
        let path = Path::new(PATH);
        read::<Self>(path)?.checked(path)
    }

    /// What makes the authority there the right one, by fingerprint or file; `None` where nothing is said of it.
    pub fn vouches_for(&self, place: &Place) -> Option<(Option<&String>, Option<&PathBuf>)> {
        let said = (self.fingerprint.as_ref(), self.ca_file.as_ref());
        (self.authority.as_ref() == Some(place) && said != (None, None)).then_some(said)
    }

    fn checked(self, path: &Path) -> Result<Self, String> {
        match &self.ca_file {
            // From the directory that somebody happens to be in, anybody's file could vouch.
            Some(file) if file.is_relative() => {
                Err(format!("{}: ca_file wants a path from / on", path.display()))
            }
            _ => Ok(self),
        }
    }
}

/// What a file says; nothing if it is not there.
pub(crate) fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("{}:{line}: {}", path.display(), error.message())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_and_what_is_misspelt_is_an_error_with_its_line() {
        let path = Path::new("client.toml");
        let parse = |text| parse::<Fleet>(text, path).and_then(|fleet| fleet.checked(path));
        let fleet =
            parse("authority = \"https://login.example.com\"\nca_file = \"/etc/ssl/login.pem\"").unwrap();
        assert_eq!(fleet.authority, Some("login.example.com".parse().unwrap()));
        assert_eq!(fleet.ca_file, Some("/etc/ssl/login.pem".into()));
        let error = parse("authority = \"a.example\"\nfingerprnt = \"\"").unwrap_err();
        assert!(error.starts_with("client.toml:2: unknown field"), "{error}");
        assert!(parse("ca_file = \"login.pem\"").unwrap_err().contains("a path from / on"));
    }

    #[test]
    fn of_nodes_each_has_a_port_for_knocks_and_perhaps_its_host_key() {
        let parse = |node: &str| parse::<Fleet>(&format!("[[node]]\n{node}"), Path::new("client.toml"));
        let key = format!("SHA256:{}", "A".repeat(43));
        let fleet = parse(&format!("hosts = [\"db*\"]\nknock = 4022\nhost_key = \"{key}\"")).unwrap();
        let [node] = &fleet.node[..] else { panic!("{fleet:?}") };
        assert_eq!((node.knock.map(u16::from), node.knock_tcp), (Some(4022), false));
        assert_eq!(node.host_key.unwrap().to_string(), key);
        for (wrong, error) in [
            ("knock = 4022", "client.toml:1: missing field `hosts`"),
            ("hosts = []\nknock = 0", "client.toml:3: invalid value: integer `0`"),
            ("hosts = []\nhost_key = \"SHA256:0\"", "client.toml:3: not a fingerprint"),
            ("hosts = []\nknok = 1", "client.toml:3: unknown field"),
        ] {
            let found = parse(wrong).unwrap_err();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
