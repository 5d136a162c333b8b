//! `/etc/cotter/client.toml`: what an administrator sets for everybody on a machine; what people say themselves comes first.

use std::path::{Path, PathBuf};

use cotter_api::Place;
use serde::Deserialize;

/// Where it lies.
const PATH: &str = "/etc/cotter/client.toml";

/// What is set. Without an authority the rest says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// Where people log in.
    pub authority: Option<Place>,
    /// What makes it the right one: the fingerprint of its certificate.
    pub fingerprint: Option<String>,
    /// Or who vouches for it: a PEM file.
    pub ca_file: Option<PathBuf>,
}

impl Fleet {
    /// Reads it; it need not be there.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn load() -> Result<Self, String> {
        match std::fs::read_to_string(PATH) {
            Ok(text) => Self::parse(&text, Path::new(PATH)),
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{PATH}: {error}")),
        }
    }

    /// What makes the authority there the right one, by fingerprint or file; `None` where nothing is said of it.
    pub fn vouches_for(&self, place: &Place) -> Option<(Option<&String>, Option<&PathBuf>)> {
        let said = (self.fingerprint.as_ref(), self.ca_file.as_ref());
        (self.authority.as_ref() == Some(place) && said != (None, None)).then_some(said)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, String> {
        let fleet: Self = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            format!("{}:{line}: {}", path.display(), error.message())
        })?;
        match &fleet.ca_file {
            // From the directory that somebody happens to be in, anybody's file could vouch.
            Some(file) if file.is_relative() => {
                Err(format!("{}: ca_file wants a path from / on", path.display()))
            }
            _ => Ok(fleet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_and_what_is_misspelt_is_an_error_with_its_line() {
        let parse = |text| Fleet::parse(text, Path::new("client.toml"));
        let fleet =
            parse("authority = \"https://login.example.com\"\nca_file = \"/etc/ssl/login.pem\"").unwrap();
        assert_eq!(fleet.authority, Some("login.example.com".parse().unwrap()));
        assert_eq!(fleet.ca_file, Some("/etc/ssl/login.pem".into()));
        let error = parse("authority = \"a.example\"\nfingerprnt = \"\"").unwrap_err();
        assert!(error.starts_with("client.toml:2: unknown field"), "{error}");
        assert!(parse("ca_file = \"login.pem\"").unwrap_err().contains("a path from / on"));
    }
}
