//! What the authority answers over HTTPS.

mod body;
mod login;
mod observation;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use cotter_api::{Refusal, UserCa};
use ipnet::IpNet;
use pinning::{ForwardedForError, Observed};
use tokio::time::timeout;

use crate::audit::Audit;
use crate::login::Logins;
use crate::observe::{Hops, Sender};
use crate::policy::Feed;
use crate::serve::Place;

/// Longest body of a request, in bytes.
const LONGEST_BODY: usize = 16 * 1024;
/// Longest wait for the storage where somebody only asks whether it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// All that answers go by.
#[derive(Debug)]
pub struct Authority {
    /// The cluster's name.
    pub name: String,
    /// Which hops are believed.
    pub hops: Hops,
    /// Logs people in.
    pub logins: Logins,
    /// What nodes follow.
    pub feed: Arc<Feed>,
    /// Who may read it; `None`: everybody.
    pub policy_readers: Option<Vec<IpNet>>,
    /// Where decisions are written.
    pub audit: Arc<Audit>,
}

/// An error, in words for people and one for programs.
#[derive(Debug)]
struct Failure {
    status: StatusCode,
    error: &'static str,
    message: String,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { status, error, message } = self;
        (status, Json(Refusal { error: error.to_owned(), message })).into_response()
    }
}

impl From<ForwardedForError> for Failure {
    fn from(error: ForwardedForError) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: "malformed", message: error.to_string() }
    }
}

/// What can be asked on a connection of this sender's.
pub(crate) fn routes(authority: Arc<Authority>, sender: Sender, place: Place) -> Router {
    Router::new()
        .route("/v1/login", post(login::login))
        .route("/v1/observed", get(observation::observed))
        .route("/v1/observations", post(observation::state))
        .route("/v1/ca", get(ca))
        .route("/v1/policy", get(policy::policy))
        .route("/healthz", get(healthz))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(Extension(sender))
        .layer(Extension(place))
        .with_state(authority)
}

/// Whom a request is from.
fn observe(authority: &Authority, sender: &Sender, headers: &HeaderMap) -> Result<Option<Observed>, Failure> {
    let lines = headers.get_all("x-forwarded-for").iter().map(|value| value.as_bytes());
    Ok(authority.hops.observe(sender, lines)?)
}

async fn ca(State(authority): State<Arc<Authority>>) -> Result<Json<UserCa>, Failure> {
    let keys = authority.logins.ca.public_lines().map_err(|error| Failure {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        error: "fault",
        message: error.to_string(),
    })?;
    Ok(Json(UserCa { cluster: authority.name.clone(), user_ca: keys.lines().map(str::to_owned).collect() }))
}

/// Whether logins can be served: the storage answers.
async fn healthz(State(authority): State<Arc<Authority>>) -> Response {
    let answer = timeout(PATIENCE, authority.logins.store.answers()).await;
    if matches!(answer, Ok(Ok(()))) {
        return (StatusCode::OK, "ok\n").into_response();
    }
    // Anybody may ask, so that the journal is not told each time: it is told of each login that fails of it.
    tracing::debug!("{}: {answer:?}", authority.logins.store.place());
    (StatusCode::SERVICE_UNAVAILABLE, "the storage does not answer\n").into_response()
}
