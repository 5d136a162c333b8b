//! How old a knock may be, and how much of the future it may be from.

use std::time::Duration;

use crate::UnixMillis;

/// How far the clocks of both sides may be apart, with the time that a knock is on its way.
pub const WINDOW: Duration = Duration::from_secs(30);

/// The times that count at one moment: later than one, and not later than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    after: UnixMillis,
    until: UnixMillis,
}

/// Why a knock's time does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Outside {
    /// It is from too long ago, or from before this agent's start.
    #[error("the knock is too old: its time is not later than {}", .0.0)]
    Late(UnixMillis),
    /// It is from the future.
    #[error("the knock is from the future: its time is later than {}", .0.0)]
    Early(UnixMillis),
}

impl Window {
    /// That of an agent which has been running for so long: whatever was sent before its start does not count, since it
    /// cannot know whether the agent before it took that.
    ///
    /// The time since the start is to be taken from a clock that nobody sets. So the start moves with the wall clock, and
    /// one that was an hour ahead at boot keeps nobody out for an hour when it is set right.
    pub fn at(now: UnixMillis, running: Duration) -> Self {
        Self { after: now.before(running.min(WINDOW)), until: now.after(WINDOW) }
    }

    /// Whether a knock of this time counts.
    ///
    /// # Errors
    /// On which side it is outside.
    pub fn require(&self, time: UnixMillis) -> Result<(), Outside> {
        match time {
            time if time <= self.after => Err(Outside::Late(self.after)),
            time if time > self.until => Err(Outside::Early(self.until)),
            _ => Ok(()),
        }
    }

    /// What is of this time or before is too old.
    pub(crate) fn after(&self) -> UnixMillis {
        self.after
    }

    /// What is later than this is from the future.
    pub(crate) fn until(&self) -> UnixMillis {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    #[test]
    fn a_time_counts_for_half_a_minute_on_both_sides() {
        let window = Window::at(NOW, Duration::MAX);
        for counts in [NOW.0 - 29_999, NOW.0, NOW.0 + 30_000] {
            assert_eq!(window.require(UnixMillis(counts)), Ok(()), "{counts}");
        }
        for late in [0, NOW.0 - 30_001, NOW.0 - 30_000] {
            assert_eq!(window.require(UnixMillis(late)), Err(Outside::Late(NOW.before(WINDOW))));
        }
        for early in [NOW.0 + 30_001, u64::MAX] {
            assert_eq!(window.require(UnixMillis(early)), Err(Outside::Early(NOW.after(WINDOW))));
        }
    }

    #[test]
    fn what_was_sent_before_the_start_does_not_count() {
        let window = Window::at(NOW, Duration::from_secs(5));
        assert_eq!(window.require(UnixMillis(NOW.0 - 5_000)), Err(Outside::Late(UnixMillis(NOW.0 - 5_000))));
        assert_eq!(window.require(UnixMillis(NOW.0 - 4_999)), Ok(()));
        assert!(Window::at(NOW, Duration::ZERO).require(NOW).is_err());
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        assert_eq!(Window::at(UnixMillis(0), Duration::MAX).require(UnixMillis(1)), Ok(()));
        assert_eq!(Window::at(UnixMillis(u64::MAX), Duration::MAX).require(UnixMillis(u64::MAX)), Ok(()));
    }
}
