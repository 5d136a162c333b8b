//! Where an authority is.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

/// The port if none is named.
const PORT: u16 = 8443;

/// Where an authority is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A text that is no place of an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of an authority: https://HOST[:PORT]")]
pub struct PlaceError(String);

impl Place {
    /// The host's name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    /// `https://host:port`, both ends of which may be left out.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let error = || PlaceError(text.chars().take(256).collect());
        let rest = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_no_port| error())?)
            }
            _ => (rest, PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        ServerName::try_from(host.to_owned()).map_err(|_no_name| error())?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl TryFrom<String> for Place {
    type Error = PlaceError;

    fn try_from(text: String) -> Result<Self, PlaceError> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(out, "https://[{host}]:{port}")
        } else {
            write!(out, "https://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_and_perhaps_a_port() {
        for (text, expected) in [
            ("login.example.com", "https://login.example.com:8443"),
            ("https://login.example.com:443/", "https://login.example.com:443"),
            ("192.0.2.1", "https://192.0.2.1:8443"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]:8443"),
            ("[2001:db8::1]:443", "https://[2001:db8::1]:443"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), expected, "{text:?}");
        }
        for text in ["", "https://", "http://example.com", "a b", "example.com:x", "example.com/path"] {
            assert!(text.parse::<Place>().is_err(), "{text:?}");
        }
    }
}
