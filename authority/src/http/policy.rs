//! `GET /v1/policy?after=VERSION&wait=SECONDS`: what nodes follow.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use pinning::Observed;

use super::{Authority, Failure, observe};
use crate::audit::What;
use crate::observe::Sender;
use crate::policy::Published;
use crate::serve::Place;
use crate::source::source;

/// Longest that somebody waits for news: well below the life of a connection.
const LONGEST: Duration = Duration::from_secs(60);

/// What a caller asks for.
#[derive(Debug, PartialEq, Eq)]
struct Ask {
    after: u64,
    wait: Duration,
}

impl Ask {
    /// Both may be missing; what else is there is for versions to come.
    fn read(query: &str) -> Result<Self, Failure> {
        let mut ask = Self { after: 0, wait: Duration::ZERO };
        for (name, value) in query.split('&').filter_map(|part| part.split_once('=')) {
            let number = || value.parse::<u64>().map_err(|_no_number| malformed(name));
            match name {
                "after" => ask.after = number()?,
                "wait" => ask.wait = Duration::from_secs(number()?).min(LONGEST),
                _ => {}
            }
        }
        Ok(ask)
    }
}

fn malformed(name: &str) -> Failure {
    let message = format!("{name} is no number");
    Failure { status: StatusCode::BAD_REQUEST, error: "malformed", message }
}

/// At once if the version is higher than the caller's, else when it is; 304 if it is not in time. A caller whose version
/// is higher than ours gets ours in the end: our storage may have been put back to an earlier day, which nodes refuse and
/// tell.
pub(super) async fn policy(
    State(authority): State<Arc<Authority>>,
    Extension(sender): Extension<Sender>,
    Extension(connection): Extension<Place>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Ask { after, wait } = Ask::read(query.as_deref().unwrap_or_default())?;
    let denied = |failure: &Failure, observed: Option<&Observed>| {
        let what = What::PolicyDenied { reason: failure.error, error: failure.message.clone() };
        authority.audit.denied(what, None, observed);
    };
    let observed = observe(&authority, &sender, &headers).inspect_err(|malformed| denied(malformed, None))?;
    let address = observed.as_ref().map(|observed| observed.address.ip());
    let is_in = |network: &ipnet::IpNet| address.is_some_and(|address| network.contains(&address));
    if authority.policy_readers.as_ref().is_some_and(|readers| !readers.iter().any(is_in)) {
        let message = "policy_readers of the authority does not name your address".to_owned();
        let forbidden = Failure { status: StatusCode::FORBIDDEN, error: "forbidden", message };
        denied(&forbidden, observed.as_ref());
        return Err(forbidden);
    }
    let newest = authority.feed.newest();
    if newest.version > after {
        return Ok(answer(&newest));
    }
    // Where nobody else can wait, who asks comes again, later.
    // All whose address nobody vouches for are one source.
    let from = observed.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |observed| source(observed.address));
    let Some(place) = authority.feed.place(from) else {
        return Ok((StatusCode::NOT_MODIFIED, [(CONNECTION, "close")]).into_response());
    };
    connection.give_up();
    let higher = authority.feed.after(after, wait, &place).await;
    let newest = authority.feed.newest();
    match higher {
        Some(higher) => Ok(answer(&higher)),
        None if newest.version < after => Ok(answer(&newest)),
        None => Ok((StatusCode::NOT_MODIFIED, [(CONNECTION, "close")]).into_response()),
    }
}

/// The connection may have no place among the others any more, and ends.
fn answer(published: &Published) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CONNECTION, "close")];
    (headers, Body::from(published.answer.clone())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_it_asks_for_is_bounded() {
        let ask = |query| Ask::read(query).map_err(|failure| failure.message);
        let seconds = Duration::from_secs;
        assert_eq!(ask(""), Ok(Ask { after: 0, wait: seconds(0) }));
        assert_eq!(ask("after=7&wait=30&moon=1&x"), Ok(Ask { after: 7, wait: seconds(30) }));
        assert_eq!(ask("wait=18446744073709551615"), Ok(Ask { after: 0, wait: LONGEST }));
        for query in ["after=-1", "after=", "wait=1h", "after=18446744073709551616"] {
            assert!(ask(query).is_err(), "{query}");
        }
    }
}
