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
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::connect::{connect, resolve};
use crate::policy::LONGEST_DOCUMENT;
use crate::trust::{OtherFingerprint, not_vouched_for};
use crate::{
    Family, Issued, LoginRequest, Observation, Place, Refusal, SignedPolicy, Statement, StatementRequest,
    Trust,
};

/// Longest that a request takes, with all that comes before it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest answer, in bytes.
const LONGEST: usize = 256 * 1024;
/// Longest policy: a quotation mark takes two bytes within a text of JSON's.
const LONGEST_POLICY: usize = 2 * LONGEST_DOCUMENT + LONGEST;

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
    /// It is not the one that is trusted.
    #[error("{place} is NOT THE AUTHORITY YOU KNOW: {other}")]
    Another {
        /// Where it should be.
        place: Place,
        /// What it shows.
        other: OtherFingerprint,
    },
    /// It says no.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

/// What goes wrong on the way.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// An authority and what makes it the right one.
#[derive(Debug, Clone)]
pub struct Authority {
    place: Place,
    trust: Trust,
    /// The only family of addresses that it is asked over, if it is one.
    family: Option<Family>,
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
        Self { place, trust, family: None }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The same, asked over one family of addresses.
    #[must_use]
    pub fn over(&self, family: Family) -> Self {
        Self { family: Some(family), ..self.clone() }
    }

    /// The families that it has addresses of, the resolver's favourite first.
    ///
    /// # Errors
    /// [`AuthorityError::Unreachable`].
    pub async fn families(&self) -> Result<Vec<Family>, AuthorityError> {
        let resolved = timeout(PATIENCE, resolve(&self.place, self.family)).await;
        let elapsed = |_| self.unreachable(format!("not resolved within {} s", PATIENCE.as_secs()));
        let addresses = resolved.map_err(elapsed)?.map_err(|error| self.unreachable(error))?;
        let mut families: Vec<Family> = Vec::new();
        for family in addresses.iter().map(|address| Family::of(address.ip())) {
            if !families.contains(&family) {
                families.push(family);
            }
        }
        Ok(families)
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

    /// The policy, as soon as there is one with a higher version than `after`; none if there is not within `wait`. An
    /// authority whose own is lower shows it at the end, so that its caller can tell.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn policy(&self, after: u64, wait: Duration) -> Result<Option<SignedPolicy>, AuthorityError> {
        let path = format!("/v1/policy?after={after}&wait={}", wait.as_secs());
        let exchange = self.exchange(Method::GET, &path, Bytes::new(), LONGEST_POLICY);
        let (status, body) = self.within(PATIENCE + wait, exchange).await?;
        if status == StatusCode::NOT_MODIFIED { Ok(None) } else { self.read(status, &body).map(Some) }
    }

    /// Has it state where it sees us, for a login with the same key over the other family of addresses.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn state(&self, request: &StatementRequest) -> Result<Statement, AuthorityError> {
        let body = serde_json::to_vec(request).map_err(|error| self.unreachable(error))?;
        self.ask(Method::POST, "/v1/observations", body.into()).await
    }

    fn unreachable(&self, why: impl fmt::Display) -> AuthorityError {
        AuthorityError::Unreachable { place: self.place.clone(), why: why.to_string() }
    }

    /// A failure to get any answer; one that comes of another server in its place is told apart.
    fn failed(&self, why: &(dyn std::error::Error + 'static)) -> AuthorityError {
        match OtherFingerprint::behind(why) {
            Some(other) => AuthorityError::Another { place: self.place.clone(), other },
            None => self.unreachable(not_vouched_for(why).unwrap_or_else(|| in_full(why))),
        }
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, AuthorityError> {
        let (status, body) = self.within(PATIENCE, self.exchange(method, path, body, LONGEST)).await?;
        self.read(status, &body)
    }

    async fn within(
        &self,
        patience: Duration,
        exchange: impl Future<Output = Result<(StatusCode, Bytes), Fault>>,
    ) -> Result<(StatusCode, Bytes), AuthorityError> {
        let elapsed = |_| self.unreachable(format!("no answer within {} s", patience.as_secs()));
        timeout(patience, exchange).await.map_err(elapsed)?.map_err(|why| self.failed(&*why))
    }

    fn read<T: for<'de> Deserialize<'de>>(
        &self,
        status: StatusCode,
        body: &Bytes,
    ) -> Result<T, AuthorityError> {
        if status == StatusCode::OK {
            return serde_json::from_slice(body).map_err(|error| self.unreachable(error));
        }
        match serde_json::from_slice(body) {
            Ok(refusal) => Err(AuthorityError::Refused(refusal)),
            Err(_no_json) => Err(self.unreachable(format!("answers {status}"))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        longest: usize,
    ) -> Result<(StatusCode, Bytes), Fault> {
        let Place { host, .. } = &self.place;
        let stream = connect(&self.place, self.family).await?;
        let tls = TlsConnector::from(Arc::new(self.trust.client()?));
        let stream = tls.connect(ServerName::try_from(host.clone())?, stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", host);
        let request = request.header("content-type", "application/json").body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, Limited::new(response.into_body(), longest).collect().await?.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// What comes of asking somebody for a policy who answers with these bytes, and then holds the connection or not.
    async fn asked(answer: String, holds: bool) -> Result<Option<SignedPolicy>, AuthorityError> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config =
            config.unwrap().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let _request = stream.read(&mut [0; 4096]).await;
            // Who has heard enough goes away.
            let _heard = stream.write_all(answer.as_bytes()).await;
            let _heard = stream.flush().await;
            if holds {
                std::future::pending::<()>().await;
            }
        });
        Authority::new(place, Trust::Anyone).policy(0, Duration::ZERO).await
    }

    fn refused(answer: Result<Option<SignedPolicy>, AuthorityError>) -> String {
        answer.unwrap_err().to_string().chars().take(400).collect()
    }

    #[tokio::test]
    async fn an_answer_of_any_length_is_read_no_further_than_a_policy_may_be_long() {
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n\"{}", "x".repeat(LONGEST_POLICY + 1));
        assert!(refused(asked(endless, true).await).contains("length limit exceeded"));
    }

    #[tokio::test]
    async fn half_an_answer_is_none() {
        let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"document\": \"";
        refused(asked(half.to_owned(), false).await);
        refused(asked("HTTP/1.1 200 OK\r\n\r\n{\"document\": \"".to_owned(), false).await);
        refused(asked("nonsense".to_owned(), false).await);
    }

    #[tokio::test]
    async fn nothing_new_is_no_error() {
        let nothing = "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned();
        assert!(asked(nothing, true).await.unwrap().is_none());
    }
}
