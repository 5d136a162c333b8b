//! `POST /v1/login`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use cotter_api::{Issued, LoginRequest};
use pinning::Observed;
use ssh_key::{HashAlg, PublicKey};
use tokio::time::timeout;

use super::body::Body;
use super::{Authority, Failure, observe};
use crate::audit::What;
use crate::login::Refusal;
use crate::observe::Sender;

/// Longest that a login takes: what hangs is given up before callers' patience ends.
const PATIENCE: Duration = Duration::from_secs(15);

/// Logs somebody in; 200 with the certificate, or an error that says why not.
pub(super) async fn login(
    State(authority): State<Arc<Authority>>,
    Extension(sender): Extension<Sender>,
    headers: HeaderMap,
    request: Result<Body<LoginRequest>, Failure>,
) -> Result<Json<Issued>, Failure> {
    let audit = &authority.audit;
    let observed = whom(&authority, &sender, &headers)
        .inspect_err(|failure| audit.denied(denied(failure, failure.message.clone()), None, None))?;
    let Body(request) = request
        .inspect_err(|failure| audit.denied(denied(failure, unread(failure)), None, observed.as_ref()))?;
    let login = timeout(PATIENCE, authority.logins.login(&request, observed.as_ref())).await;
    match login.unwrap_or(Err(Refusal::Slow)) {
        Ok(issued) => {
            let key = PublicKey::from_openssh(&request.public_key);
            let key = key.map(|key| key.fingerprint(HashAlg::Sha256).to_string()).unwrap_or_default();
            let ca = authority.logins.ca.fingerprints().next().map(|ca| ca.to_string());
            audit.issued(&request.user, observed.as_ref(), &issued, key, ca);
            Ok(Json(issued))
        }
        Err(refusal) => {
            let error = authority.in_full(&refusal);
            let failure = Failure::from(refusal);
            audit.denied(denied(&failure, error), Some(&request.user), observed.as_ref());
            Err(failure)
        }
    }
}

/// Whom a login is from.
fn whom(authority: &Authority, sender: &Sender, headers: &HeaderMap) -> Result<Option<Observed>, Failure> {
    if *sender == Sender::HealthCheck {
        let message = "a balancer's own connection is nobody's login".to_owned();
        return Err(Failure { status: StatusCode::FORBIDDEN, error: "health_check", message });
    }
    observe(authority, sender, headers)
}

fn denied(failure: &Failure, error: String) -> What {
    What::LoginDenied { reason: failure.error, error }
}

/// What the trail is told of a body that is none: not what stands in it, which may be a password in a wrong place.
fn unread(failure: &Failure) -> String {
    format!("what was sent is no login: {}", failure.status)
}

impl Authority {
    /// What the journal is told: more than strangers are.
    fn in_full(&self, refusal: &Refusal) -> String {
        match refusal {
            Refusal::Storage(error) => format!("{}: {error}", self.logins.store.place()),
            Refusal::Signer(error) => error.to_string(),
            Refusal::Fault(error) => error.clone(),
            Refusal::Wrong
            | Refusal::CodeNeeded
            | Refusal::NoSecondFactor
            | Refusal::Locked
            | Refusal::TooMany(_)
            | Refusal::Malformed(_)
            | Refusal::OtherObservation(_)
            | Refusal::NoGrant { .. }
            | Refusal::Busy => refusal.to_string(),
            Refusal::Slow => {
                format!("{}: no answer within {} s", self.logins.store.place(), PATIENCE.as_secs())
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (status, error) = match &refusal {
            Refusal::Wrong => (StatusCode::UNAUTHORIZED, "wrong"),
            Refusal::CodeNeeded => (StatusCode::UNAUTHORIZED, "code_needed"),
            Refusal::NoSecondFactor => (StatusCode::FORBIDDEN, "no_second_factor"),
            Refusal::Locked => (StatusCode::FORBIDDEN, "locked"),
            Refusal::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
            Refusal::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Refusal::OtherObservation(_) => (StatusCode::FORBIDDEN, "other_observation"),
            Refusal::NoGrant { .. } => (StatusCode::FORBIDDEN, "no_grant"),
            Refusal::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Refusal::Storage(_) => (StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable"),
            Refusal::Slow => (StatusCode::SERVICE_UNAVAILABLE, "slow"),
            Refusal::Signer(_) => (StatusCode::SERVICE_UNAVAILABLE, "signer_unavailable"),
            Refusal::Fault(_) => (StatusCode::INTERNAL_SERVER_ERROR, "fault"),
        };
        Self { status, error, message: refusal.to_string() }
    }
}
