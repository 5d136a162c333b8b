//! How often the kernel may learn, and a source may knock.

use crate::Nanoseconds;

/// How many events each CPU may write until the agent, who reads them, allows as many once more.
pub const EVENTS_ALLOWED: u64 = 128;

/// A token bucket: a second's worth at once, refilled evenly.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Budget {
    /// Up to when the tokens are spent: the bucket is full while this lies a second or more in the past.
    spent_until: Nanoseconds,
}

const _: () = assert!(size_of::<Budget>() == 8);

impl Budget {
    /// What may be learnt a second and CPU.
    pub const RATE: u64 = 128;

    const SECOND: Nanoseconds = 1_000_000_000;
    const COST: Nanoseconds = Self::SECOND / Self::RATE;

    /// Knocks a second and source.
    pub const KNOCKS: u64 = 8;

    /// Takes one token; false if there is none.
    #[inline(always)]
    pub const fn take(&mut self, now: Nanoseconds) -> bool {
        self.take_at(now, Self::COST)
    }

    /// Takes the token of one knock of a source's.
    #[inline(always)]
    pub const fn take_knock(&mut self, now: Nanoseconds) -> bool {
        self.take_at(now, Self::SECOND / Self::KNOCKS)
    }

    #[inline(always)]
    const fn take_at(&mut self, now: Nanoseconds, cost: Nanoseconds) -> bool {
        let full = now.saturating_sub(Self::SECOND);
        let start = if self.spent_until > full { self.spent_until } else { full };
        if start + cost > now {
            return false;
        }
        self.spent_until = start + cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_gives_one_seconds_worth_and_then_refills_evenly() {
        let mut budget = Budget::default();
        let mut now = 100 * Budget::SECOND;
        assert_eq!((0..1000).filter(|_| budget.take(now)).count() as u64, Budget::RATE);
        now += Budget::SECOND / 2;
        assert_eq!((0..1000).filter(|_| budget.take(now)).count() as u64, Budget::RATE / 2);
        now += 50 * Budget::SECOND;
        assert_eq!((0..1000).filter(|_| budget.take(now)).count() as u64, Budget::RATE);
    }
}
