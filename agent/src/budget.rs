//! A budget that fills up again by itself: what strangers may have this agent spend.

use std::time::{Duration, Instant};

/// What may be spent within a time: on the whole one part in so many of the time that passes, and at once some more.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    one_in: u32,
    /// How far ahead of the time it may be spent.
    ahead: Duration,
    /// All time up to then is spent.
    spent_to: Instant,
}

impl Budget {
    /// A full one, of which `at_once` can be spent at once.
    pub(crate) fn one_in(one_in: u32, at_once: Duration, now: Instant) -> Self {
        Self { one_in, ahead: at_once * one_in, spent_to: now }
    }

    /// Whether anything is left. What is spent then may be more than that: it takes the longer until something is left again.
    pub(crate) fn is_left(&self, now: Instant) -> bool {
        self.spent_to < now + self.ahead
    }

    /// Whether nothing is spent.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.spent_to <= now
    }

    /// Spends it.
    pub(crate) fn spend(&mut self, cost: Duration, now: Instant) {
        self.spent_to = self.spent_to.max(now) + cost * self.one_in;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn on_the_whole_no_more_than_its_part_is_spent() {
        let start = Instant::now();
        let mut budget = Budget::one_in(10, MS * 5, start);
        let mut spent = Duration::ZERO;
        for step in 0..10_000 {
            let now = start + MS * step;
            if budget.is_left(now) {
                budget.spend(MS * 3, now);
                spent += MS * 3;
            }
        }
        assert!((MS * 1000..=MS * 1008).contains(&spent), "{spent:?}");
    }

    #[test]
    fn a_debt_is_worked_off_and_no_more_than_its_fill_is_saved_up() {
        let start = Instant::now();
        let mut budget = Budget::one_in(10, MS * 5, start);
        assert!(budget.is_left(start));
        budget.spend(MS * 7, start);
        assert!(!budget.is_left(start + MS * 20));
        assert!(budget.is_left(start + MS * 21));
        let later = start + MS * 1_000_000;
        budget.spend(MS * 5, later);
        assert!(!budget.is_left(later));
    }
}
