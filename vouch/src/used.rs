//! Which statements have counted, so that none counts twice.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use crate::Statement;

/// How far the clocks of relay and node may be apart, with the time that a statement is on its way.
pub const WINDOW: Duration = Duration::from_secs(30);
/// Most that are remembered; each for twice the window at most.
pub const CAPACITY: usize = 65_536;

const WINDOW_MILLIS: u64 = WINDOW.as_millis() as u64;

/// Those that have counted and whose time is not over.
#[derive(Debug, Default)]
pub struct Used {
    ids: HashSet<String>,
    /// The same by their time, the oldest first.
    by_time: BTreeSet<(u64, String)>,
}

/// Why a statement does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its time is over, or the clocks are apart.
    #[error("it is more than {} s old, or the clocks are so far apart", WINDOW.as_secs())]
    Late,
    /// It is from the future.
    #[error("it is from the future: the clocks are more than {} s apart", WINDOW.as_secs())]
    Early,
    /// It has counted before.
    #[error("it has counted before")]
    Used,
    /// Too many have.
    #[error("more than {CAPACITY} statements within a minute")]
    Full,
}

impl Used {
    /// Has a statement count, once, at `now`, Unix milliseconds; one that was made at `since` or before, when nobody remembered,
    /// does not.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn take(&mut self, statement: &Statement, now: u64, since: u64) -> Result<(), Refusal> {
        let oldest = now.saturating_sub(WINDOW_MILLIS).max(since);
        self.forget_before(oldest);
        if statement.made_at <= oldest {
            return Err(Refusal::Late);
        }
        if statement.made_at > now.saturating_add(WINDOW_MILLIS) {
            return Err(Refusal::Early);
        }
        if self.ids.contains(&statement.id) {
            return Err(Refusal::Used);
        }
        if self.ids.len() >= CAPACITY {
            return Err(Refusal::Full);
        }
        self.ids.insert(statement.id.clone());
        self.by_time.insert((statement.made_at, statement.id.clone()));
        Ok(())
    }

    fn forget_before(&mut self, oldest: u64) {
        while let Some((_, id)) = self.by_time.first().filter(|(made_at, _)| *made_at <= oldest) {
            self.ids.remove(id);
            self.by_time.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Says;

    const NOW: u64 = 1_700_000_000_000;

    fn statement(id: &str, made_at: u64) -> Statement {
        let end = |port| std::net::SocketAddr::from(([192, 0, 2, 1], port));
        Statement {
            id: id.into(),
            made_at,
            from: end(1),
            to: end(22),
            says: Says::Ended { session: String::new() },
        }
    }

    #[test]
    fn each_counts_once_within_its_time() {
        let mut used = Used::default();
        assert_eq!(used.take(&statement("a", NOW), NOW, 0), Ok(()));
        assert_eq!(used.take(&statement("a", NOW), NOW + 1, 0), Err(Refusal::Used));
        assert_eq!(used.take(&statement("a", NOW), NOW + WINDOW_MILLIS, 0), Err(Refusal::Late));
        assert_eq!(used.take(&statement("b", NOW + WINDOW_MILLIS + 1), NOW, 0), Err(Refusal::Early));
        assert_eq!(used.take(&statement("b", NOW + WINDOW_MILLIS), NOW, 0), Ok(()));
    }

    #[test]
    fn what_was_made_before_anybody_remembered_does_not_count() {
        let mut used = Used::default();
        assert_eq!(used.take(&statement("a", NOW), NOW + 5, NOW), Err(Refusal::Late));
        assert_eq!(used.take(&statement("b", NOW + 1), NOW + 5, NOW), Ok(()));
    }

    #[test]
    fn what_is_over_makes_room() {
        let mut used = Used::default();
        for number in 0..CAPACITY {
            assert_eq!(used.take(&statement(&number.to_string(), NOW), NOW, 0), Ok(()));
        }
        assert_eq!(used.take(&statement("more", NOW + 1), NOW, 0), Err(Refusal::Full));
        assert_eq!(used.take(&statement("more", NOW + WINDOW_MILLIS), NOW + WINDOW_MILLIS, 0), Ok(()));
        assert_eq!(used.ids.len(), 1);
    }
}
