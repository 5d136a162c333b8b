//! What comes with a request, in JSON; within its time.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Failure;

/// Longest wait for a body, which has some hundred bytes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request's body, read.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let malformed = |status, message| Failure { status, error: "malformed", message };
        match timeout(PATIENCE, Json::from_request(request, state)).await {
            Ok(Ok(Json(body))) => Ok(Self(body)),
            Ok(Err(rejection)) => Err(malformed(rejection.status(), rejection.body_text())),
            Err(_elapsed) => {
                let message = format!("the request did not come within {} s", PATIENCE.as_secs());
                Err(malformed(StatusCode::REQUEST_TIMEOUT, message))
            }
        }
    }
}
