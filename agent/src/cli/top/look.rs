//! One look at the agent, and what has changed since the one before.

use super::{Common, Failure, client};
use crate::audit::Event;
use crate::daemon::call::{Answer, Call, PacketCount, SessionList, Status};
use serde::Serialize;
use std::time::Instant;

/// How many denials are asked for.
const DENIALS: usize = 32;

/// What the agent has said at one moment.
#[derive(Debug)]
pub(super) struct Look {
    /// When the packets were counted.
    pub(super) at: Instant,
    pub(super) status: Status,
    pub(super) sessions: SessionList,
    /// The latest first.
    pub(super) denials: Vec<Event>,
}

/// Packets of one reason a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Rate {
    /// How many came to this end.
    pub(super) packets: f64,
    /// How many would have, had not audit mode overruled it.
    pub(super) overruled: f64,
}

/// A look as scripts get it.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    status: &'a Status,
    /// Packets a second by reason since the look before; absent at the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    rates: Option<Vec<ReasonRate<'a>>>,
    #[serde(flatten)]
    sessions: &'a SessionList,
    denials: &'a [Event],
}

#[derive(Debug, Serialize)]
struct ReasonRate<'a> {
    reason: &'a str,
    #[serde(flatten)]
    rate: Rate,
}

impl Look {
    /// Asks the agent.
    pub(super) fn take(common: &Common) -> Result<Self, Failure> {
        let answer = client::call(common, &Call::Status)?;
        let at = Instant::now();
        let Answer::Status(status) = answer else { return Err(client::unexpected(&answer)) };
        let answer = client::call(common, &Call::Sessions)?;
        let Answer::Sessions(sessions) = answer else { return Err(client::unexpected(&answer)) };
        let answer = client::call(common, &Call::Denials { at_most: DENIALS })?;
        let Answer::Denials { denials } = answer else { return Err(client::unexpected(&answer)) };
        Ok(Self { at, status: *status, sessions, denials })
    }

    /// The rates of all reasons since an earlier look, in the order of the counts.
    pub(super) fn rates(&self, before: &Self) -> Vec<Rate> {
        let seconds = self.at.saturating_duration_since(before.at).as_secs_f64();
        let rate = |now: &PacketCount| {
            let then = before.status.packets.iter().find(|then| then.reason == now.reason);
            let (packets, overruled) = then.map_or((0, 0), |then| (then.packets, then.overruled));
            Rate {
                packets: per_second(packets, now.packets, seconds),
                overruled: per_second(overruled, now.overruled, seconds),
            }
        };
        self.status.packets.iter().map(rate).collect()
    }

    /// For scripts.
    pub(super) fn since(&self, before: Option<&Self>) -> Report<'_> {
        let reasons = self.status.packets.iter().map(|count| count.reason.as_str());
        let rates = before.map(|before| self.rates(before));
        let rates =
            rates.map(|rates| reasons.zip(rates).map(|(reason, rate)| ReasonRate { reason, rate }).collect());
        Report { status: &self.status, rates, sessions: &self.sessions, denials: &self.denials }
    }
}

/// A count that went down has begun anew: with new maps, from zero.
#[expect(clippy::cast_precision_loss, reason = "counts in one interval are far below 2^52")]
fn per_second(then: u64, now: u64, seconds: f64) -> f64 {
    let more = now.checked_sub(then).unwrap_or(now);
    if seconds > 0.0 { more as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_what_came_in_between_also_when_counting_began_anew() {
        assert_eq!(per_second(100, 150, 2.0), 25.0);
        assert_eq!(per_second(100, 100, 2.0), 0.0);
        assert_eq!(per_second(100, 30, 2.0), 15.0);
        assert_eq!(per_second(0, 30, 0.0), 0.0);
    }
}
