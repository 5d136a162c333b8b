//! `GET /v1/observed` and `POST /v1/observations`: where callers are seen, and the authority's own statement of it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use cotter_api::{Observation, Statement, StatementRequest};

use super::body::Body;
use super::{Authority, Failure, observe};
use crate::clock;
use crate::login::read_key;
use crate::observe::Sender;

/// Where the caller is seen, and how.
pub(super) async fn observed(
    State(authority): State<Arc<Authority>>,
    Extension(sender): Extension<Sender>,
    headers: HeaderMap,
) -> Result<Json<Observation>, Failure> {
    Ok(Json(observe(&authority, &sender, &headers)?.into()))
}

/// The same, with a statement for a login with this key over the other family of addresses, if somebody vouches.
pub(super) async fn state(
    State(authority): State<Arc<Authority>>,
    Extension(sender): Extension<Sender>,
    headers: HeaderMap,
    request: Result<Body<StatementRequest>, Failure>,
) -> Result<Json<Statement>, Failure> {
    let observed = observe(&authority, &sender, &headers)?;
    let Body(request) = request?;
    let key = read_key(&request.public_key)?;
    let state = |observed| authority.logins.witness.state(observed, &key, clock::unix());
    let token = observed.clone().map(state).transpose().map_err(|error| Failure {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        error: "fault",
        message: error.to_string(),
    })?;
    Ok(Json(Statement { observation: observed.into(), token }))
}
