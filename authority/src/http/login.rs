//! `POST /v1/login`.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use cotter_api::{Issued, LoginRequest};

use super::{Authority, Failure, observe};
use crate::audit;
use crate::login::Refusal;
use crate::observe::Sender;

/// Logs somebody in; 200 with the certificate, or an error that says why not.
pub(super) async fn login(
    State(authority): State<Arc<Authority>>,
    Extension(sender): Extension<Sender>,
    headers: HeaderMap,
    request: Result<Json<LoginRequest>, JsonRejection>,
) -> Result<Json<Issued>, Failure> {
    if sender == Sender::HealthCheck {
        let message = "a balancer's own connection is nobody's login".to_owned();
        return Err(Failure { status: StatusCode::FORBIDDEN, error: "health_check", message });
    }
    let observed = observe(&authority, &sender, &headers)?;
    let Json(request) = request.map_err(Failure::malformed)?;
    match authority.logins.login(&request, observed.as_ref()).await {
        Ok(issued) => {
            audit::issued(&request.user, &issued);
            Ok(Json(issued))
        }
        Err(refusal) => {
            audit::refused(&request.user, observed.as_ref(), &refusal);
            Err(refusal.into())
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
            Refusal::Fault(_) => (StatusCode::INTERNAL_SERVER_ERROR, "fault"),
        };
        Self { status, error, message: refusal.to_string() }
    }
}
