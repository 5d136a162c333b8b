//! An authority that can be asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::{Issued, LoginRequest, Observation, Place, Refusal, Trust};

/// Longest that a request takes, with all that comes before it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest answer, in bytes.
const LONGEST: usize = 256 * 1024;

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be reached, or is another.
    #[error("{place} cannot be reached: {why}")]
    Unreachable {
        /// Where it should be.
        place: Place,
        /// Why.
        why: String,
    },
    /// It says no.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

/// An authority and what makes it the right one.
#[derive(Debug, Clone)]
pub struct Authority {
    place: Place,
    trust: Trust,
}

/// An error with what is behind it: hyper's own words are few.
fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = causes.map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
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
    pub async fn observed(&self) -> Result<Observation, AuthorityError> {
        self.ask(Method::GET, "/v1/observed", Bytes::new()).await
    }

    /// Logs in.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn login(&self, request: &LoginRequest) -> Result<Issued, AuthorityError> {
        let body = serde_json::to_vec(request).map_err(|error| self.unreachable(error))?;
        self.ask(Method::POST, "/v1/login", body.into()).await
    }

    fn unreachable(&self, why: impl fmt::Display) -> AuthorityError {
        AuthorityError::Unreachable { place: self.place.clone(), why: why.to_string() }
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, AuthorityError> {
        let elapsed = |_| self.unreachable(format!("no answer within {} s", PATIENCE.as_secs()));
        let answer = timeout(PATIENCE, self.exchange(method, path, body)).await.map_err(elapsed)?;
        let (status, body) = answer.map_err(|why| self.unreachable(in_full(&*why)))?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| self.unreachable(error));
        }
        match serde_json::from_slice(&body) {
            Ok(refusal) => Err(AuthorityError::Refused(refusal)),
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
        // It ends with the answer.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", host);
        let request = request.header("content-type", "application/json").body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, Limited::new(response.into_body(), LONGEST).collect().await?.to_bytes()))
    }
}
