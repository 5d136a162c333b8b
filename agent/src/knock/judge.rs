//! Judges knocks: the cheap questions first, so that what strangers make up costs next to nothing.

use super::Refusal;
use crate::budget::Budget;
use crate::clock;
use crate::config::Knocks;
use crate::login::is_proven;
use cotter_knock::{CAPACITY, Knock, Proven, Replays, UnixMillis, Window};
use pinning::{Judgement, Knocker, Lock, Observed, Policy, Verdict};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Checking the signatures of knocks without a MAC, which anybody can make up, takes a twentieth of a core.
const STRANGERS: u32 = 20;
/// And of those with one, whose certificates are of this fleet, a fifth.
const FLEET: u32 = 5;
/// What of that can be spent at once: it suffices for some tens of signatures of the slowest kind.
const AT_ONCE: Duration = Duration::from_millis(100);

/// What was taken, and what may still be spent.
#[derive(Debug)]
pub(super) struct Judge {
    started: Instant,
    replays: Replays,
    strangers: Budget,
    fleet: Budget,
}

/// What came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) from: IpAddr,
    /// When, by the wall's clock and by one that nobody sets.
    pub(super) wall: UnixMillis,
    pub(super) at: Instant,
}

/// What it is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) knocks: &'a Knocks,
    pub(super) policy: &'a Policy,
    pub(super) locks: &'a [Lock],
}

/// A knock that opens nothing.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: Refusal,
    /// Whose certificate it has, if a known authority signed that.
    pub(super) of: Option<Box<Judgement>>,
}

impl Judge {
    /// One that refuses what was made before `started`, or not later than the latest that an agent before it has taken.
    pub(super) fn new(started: Instant, latest: Option<UnixMillis>) -> Self {
        Self {
            started,
            replays: Replays::new(CAPACITY, latest),
            strangers: Budget::one_in(STRANGERS, AT_ONCE, started),
            fleet: Budget::one_in(FLEET, AT_ONCE, started),
        }
    }

    /// The latest time of all that was taken; to be kept before the door is opened.
    pub(super) fn latest(&self) -> UnixMillis {
        self.replays.latest()
    }

    /// Judges a knock, and takes it if it is good: whose it is. The order is that of `cotter_knock`'s documentation.
    pub(super) fn judge(
        &mut self,
        arrival: &Arrival<'_>,
        rules: &Rules<'_>,
    ) -> Result<Box<Judgement>, Refused> {
        let knock = Knock::parse(arrival.bytes).map_err(|_malformed| Refusal::Malformed)?;
        if !rules.knocks.host_keys.iter().any(|key| knock.is_for(key)) {
            return Err(Refusal::OtherNode.into());
        }
        let window = Window::at(arrival.wall, arrival.at.saturating_duration_since(self.started));
        window.require(knock.time()).map_err(Refusal::from)?;
        require_mac(&knock, rules.knocks)?;
        if self.replays.knows(&knock) {
            return Err(Refusal::Replayed.into());
        }
        let budget = if rules.knocks.secret.is_some() { &mut self.fleet } else { &mut self.strangers };
        let (judgement, proven) = within(budget, arrival.at, || prove(knock, arrival, rules))?;
        match self.replays.take(&window, &proven) {
            Ok(()) => Ok(judgement),
            Err(why) => Err(Refused { why: why.into(), of: Some(judgement) }),
        }
    }
}

fn require_mac(knock: &Knock<'_>, knocks: &Knocks) -> Result<(), Refusal> {
    match &knocks.secret {
        None => Ok(()),
        Some(_) if !knock.has_mac() => Err(Refusal::NoMac),
        Some(secret) if !knock.mac_holds(secret) => Err(Refusal::WrongMac),
        Some(_) => Ok(()),
    }
}

/// Does what takes processor time, if there is any left for it.
fn within<T>(
    budget: &mut Budget,
    now: Instant,
    act: impl FnOnce() -> Result<T, Refused>,
) -> Result<T, Refused> {
    if !budget.is_left(now) {
        return Err(Refusal::Busy.into());
    }
    let begin = clock::processor();
    let done = act();
    budget.spend(clock::processor().saturating_sub(begin), now);
    done
}

/// The two signatures: the authority's over the certificate, and the certificate's key's over the knock.
fn prove<'a>(
    knock: Knock<'a>,
    arrival: &Arrival<'_>,
    rules: &Rules<'_>,
) -> Result<(Box<Judgement>, Proven<'a>), Refused> {
    let judgement = Box::new(rules.policy.judge_knock(&Knocker {
        certificate: knock.certificate(),
        observed: Observed::direct(arrival.from),
        now: arrival.wall.0 / 1000,
        locks: rules.locks,
    }));
    if let Verdict::Deny(reason) = judgement.verdict {
        let of = is_proven(&judgement).then_some(judgement);
        return Err(Refused { why: Refusal::Denied(reason), of });
    }
    match knock.prove() {
        Ok(proven) => Ok((judgement, proven)),
        Err(_unproven) => Err(Refused { why: Refusal::Unproven, of: Some(judgement) }),
    }
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        Self { why, of: None }
    }
}

#[cfg(test)]
mod tests;
