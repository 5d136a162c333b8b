//! The authority, as it answers over HTTPS.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use pinning::{Address, How};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::trust::Trust;

/// The authority's port if its address names none.
const PORT: u16 = 8443;
/// Longest that a request takes, with all that comes before it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest answer, in bytes.
const LONGEST: usize = 256 * 1024;

/// Where an authority is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    host: String,
    port: u16,
}

/// A text that is no place of an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of an authority: https://HOST[:PORT]")]
pub struct PlaceError(String);

impl FromStr for Place {
    type Err = PlaceError;

    /// `https://host:port`, both ends of which may be left out.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let error = || PlaceError(text.chars().take(256).collect());
        let rest = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| error())?)
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

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be reached, or is another.
    #[error("{place}: {why}")]
    Unreachable {
        /// Where it should be.
        place: Place,
        /// Why.
        why: String,
    },
    /// It says no.
    #[error("{message}")]
    Refused {
        /// The word for programs, such as `wrong` or `code_needed`.
        error: String,
        /// The words for people.
        message: String,
    },
}

/// Where the authority sees its caller.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Seen {
    /// The address, if somebody vouches for it.
    pub address: Option<Address>,
    /// And how.
    pub how: Option<How>,
}

/// What logs somebody in.
#[derive(Serialize)]
pub struct LoginRequest<'a> {
    /// Who.
    pub user: &'a str,
    /// Their password.
    pub password: &'a str,
    /// The second factor's code.
    pub code: Option<&'a str>,
    /// The key to be certified.
    pub public_key: &'a str,
}

/// The part of the answer to a login that counts here; the certificate says the rest.
#[derive(Debug, Clone, Deserialize)]
pub struct Issued {
    /// As OpenSSH has it.
    pub certificate: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    message: String,
}

/// An authority that can be asked.
#[derive(Debug, Clone)]
pub struct Authority {
    place: Place,
    trust: Trust,
}

impl Authority {
    /// The one there, if it is the right one.
    pub fn new(place: Place, trust: Trust) -> Self {
        Self { place, trust }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where it sees us.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn observed(&self) -> Result<Seen, AuthorityError> {
        self.ask(Method::GET, "/v1/observed", Bytes::new())
    }

    /// Logs in.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn login(&self, request: &LoginRequest) -> Result<Issued, AuthorityError> {
        let body = serde_json::to_vec(request).map_err(|error| self.unreachable(error))?;
        self.ask(Method::POST, "/v1/login", body.into())
    }

    fn unreachable(&self, why: impl fmt::Display) -> AuthorityError {
        AuthorityError::Unreachable { place: self.place.clone(), why: why.to_string() }
    }

    fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, AuthorityError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| self.unreachable(error))?;
        let answer = runtime.block_on(async { timeout(PATIENCE, self.exchange(method, path, body)).await });
        let elapsed = |_| self.unreachable(format!("no answer within {} s", PATIENCE.as_secs()));
        let (status, body) = answer.map_err(elapsed)?.map_err(|why| self.unreachable(why))?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| self.unreachable(error));
        }
        match serde_json::from_slice(&body) {
            Ok(Refusal { error, message }) => Err(AuthorityError::Refused { error, message }),
            Err(_no_json) => Err(self.unreachable(format!("answers {status}"))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let Place { host, port } = &self.place;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        let tls = TlsConnector::from(Arc::new(self.trust.client()?));
        let stream = tls.connect(ServerName::try_from(host.clone())?, stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the runtime.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", host);
        let request = request.header("content-type", "application/json").body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, Limited::new(response.into_body(), LONGEST).collect().await?.to_bytes()))
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
