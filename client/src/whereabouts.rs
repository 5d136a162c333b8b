//! Where the authority sees us: over each family of addresses that matters, without waiting long for one that does not work.

use std::time::Duration;

use cotter_api::{Authority, AuthorityError, Family, Observation, Statement, StatementRequest};
use pinning::Pins;
use tokio::time::{Instant, timeout, timeout_at};

use crate::credential::families;

/// Longest wait for an answer, over whatever ways, when there is a certificate that may do without.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of that the family of the pins has for itself.
const PINNED: Duration = Duration::from_secs(3);
/// Longest wait for an answer over one family once there is one over the other.
const OTHER: Duration = Duration::from_secs(1);
/// Longest wait for statements; a person types longer.
const STATEMENTS: Duration = Duration::from_secs(2);
/// A statement that is older gets a successor: it counts for a minute.
const FRESH: Duration = Duration::from_secs(30);

/// Where the authority sees us over the families that a certificate is pinned in; over whichever works if that is none, or if
/// the authority cannot be reached over those. A refusal is an answer, and no reason to ask elsewhere.
///
/// # Errors
/// That it cannot be asked over any.
pub async fn seen(authority: &Authority, pins: Option<&Pins>) -> Result<Vec<Observation>, AuthorityError> {
    within(PATIENCE, authority, over_pinned(authority, pins)).await
}

async fn over_pinned(authority: &Authority, pins: Option<&Pins>) -> Result<Vec<Observation>, AuthorityError> {
    let pinned = pins.map(families).unwrap_or_default();
    let has = authority.families().await?;
    let (pinned, others): (Vec<_>, Vec<_>) = has.into_iter().partition(|family| pinned.contains(family));
    match (&pinned[..], &others[..]) {
        ([first, second, ..], _) => both(&authority.over(*first), &authority.over(*second)).await,
        ([pinned], [other, ..]) => {
            let first = authority.over(*pinned);
            match within(PINNED, authority, first.observed()).await {
                Err(AuthorityError::Unreachable { .. }) => {
                    authority.over(*other).observed().await.map(|it| vec![it])
                }
                seen => seen.map(|it| vec![it]),
            }
        }
        _ => authority.observed().await.map(|it| vec![it]),
    }
}

/// An answer that comes in time.
async fn within<T>(
    limit: Duration,
    authority: &Authority,
    answer: impl Future<Output = Result<T, AuthorityError>>,
) -> Result<T, AuthorityError> {
    let elapsed = |_| AuthorityError::Unreachable {
        place: authority.place().clone(),
        why: format!("no answer within {} s", limit.as_secs()),
    };
    timeout(limit, answer).await.map_err(elapsed)?
}

/// What both say; of one that fails, or is much later than the other, nothing.
async fn both(first: &Authority, second: &Authority) -> Result<Vec<Observation>, AuthorityError> {
    let (mut one, mut two) = (std::pin::pin!(first.observed()), std::pin::pin!(second.observed()));
    let (earlier, later) = tokio::select! {
        earlier = one.as_mut() => {
            let limit = if earlier.is_ok() { OTHER } else { PATIENCE };
            (earlier, within(limit, second, two.as_mut()).await)
        }
        earlier = two.as_mut() => {
            let limit = if earlier.is_ok() { OTHER } else { PATIENCE };
            (earlier, within(limit, first, one.as_mut()).await)
        }
    };
    match (earlier, later) {
        (Ok(earlier), Ok(later)) => Ok(vec![earlier, later]),
        (Ok(only), Err(_)) | (Err(_), Ok(only)) => Ok(vec![only]),
        (Err(error), Err(_)) => Err(error),
    }
}

/// The way to the authority that a login takes, and its statement of where it sees us over the other family of addresses.
#[derive(Debug)]
pub struct Route {
    /// The authority, asked over the family of the login.
    pub authority: Authority,
    other: Option<Other>,
}

#[derive(Debug)]
struct Other {
    authority: Authority,
    token: String,
    since: Instant,
}

impl Route {
    /// Finds it, within two seconds; at once if the authority has addresses of one family alone.
    pub async fn find(authority: Authority, public_key: String) -> Self {
        let request = StatementRequest { public_key };
        let limit = Instant::now() + STATEMENTS;
        let has = timeout_at(limit, authority.families()).await;
        let Ok(Ok(has)) = has else { return Self::plain(authority) };
        let [first, second] = has[..] else { return Self::plain(authority) };
        let (first, second) = (authority.over(first), authority.over(second));
        let state = |authority: Authority| {
            let request = &request;
            async move { timeout_at(limit, authority.state(request)).await.ok()?.ok() }
        };
        match tokio::join!(state(first.clone()), state(second.clone())) {
            (Some(one), Some(two)) => Self { authority: first, other: Other::of(second, &one, two) },
            (Some(_), None) => Self::plain(first),
            (None, Some(_)) => Self::plain(second),
            (None, None) => Self::plain(authority),
        }
    }

    fn plain(authority: Authority) -> Self {
        Self { authority, other: None }
    }

    /// The statement, made anew if it has grown old; `None`: there is no other family, or nobody vouches for its address.
    pub async fn statement(&mut self, public_key: &str) -> Option<String> {
        let other = self.other.as_mut()?;
        if other.since.elapsed() > FRESH {
            let request = StatementRequest { public_key: public_key.to_owned() };
            let statement = timeout(STATEMENTS, other.authority.state(&request)).await.ok()?.ok()?;
            (other.token, other.since) = (statement.token?, Instant::now());
        }
        Some(other.token.clone())
    }
}

impl Other {
    /// What counts beside a login that is seen as `login`: a balancer may have both in one family.
    fn of(authority: Authority, login: &Statement, other: Statement) -> Option<Self> {
        let family = |statement: &Statement| Some(Family::of(statement.observation.address?.ip()));
        let differs = family(login)? != family(&other)?;
        Some(Self { authority, token: other.token?, since: Instant::now() }).filter(|_| differs)
    }
}
