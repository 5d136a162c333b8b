//! The clocks: wall time of certificates, the kernel programs' coarse monotonic time, and a thread's processor time.

use agent_ebpf::{NEVER, Nanoseconds};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::Duration;

/// A second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// Wall time in Unix seconds.
#[must_use]
pub(crate) fn unix() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime)) / SECOND
}

/// The same in milliseconds.
#[must_use]
pub(crate) fn unix_millis() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime)) / (SECOND / 1000)
}

/// How long it is until a wall time; zero if it is past.
#[must_use]
pub(crate) fn until(unix_seconds: u64) -> Duration {
    let now = Duration::from_nanos(nanoseconds(clock_gettime(ClockId::Realtime)));
    Duration::from_secs(unix_seconds).saturating_sub(now)
}

/// The kernel programs' time now.
#[must_use]
pub(crate) fn monotonic() -> Nanoseconds {
    nanoseconds(clock_gettime(ClockId::MonotonicCoarse))
}

/// The processor time that this thread has taken.
#[must_use]
pub(crate) fn processor() -> Duration {
    Duration::from_nanos(nanoseconds(clock_gettime(ClockId::ThreadCPUTime)))
}

/// How far wall time is ahead of the kernel programs' time. It changes when the wall clock is set, and by the time
/// spent in suspend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset(i128);

impl Offset {
    /// The offset now.
    #[must_use]
    pub(crate) fn now() -> Self {
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        Self(i128::from(wall) - i128::from(nanoseconds(clock_gettime(ClockId::Monotonic))))
    }

    /// Whether the clocks have moved against each other by more than reading them one after the other explains.
    #[must_use]
    pub(crate) fn differs_from(self, other: Self) -> bool {
        (self.0 - other.0).unsigned_abs() > u128::from(SECOND / 20)
    }

    /// A wall time as the kernel programs' time: what is past is 0, what is beyond their clock is never.
    #[must_use]
    pub(crate) fn deadline(self, unix_seconds: Option<u64>) -> Nanoseconds {
        let Some(seconds) = unix_seconds else { return NEVER };
        let at = i128::from(seconds) * i128::from(SECOND) - self.0;
        Nanoseconds::try_from(at.max(0)).unwrap_or(NEVER)
    }
}

/// A time since the clock's epoch in nanoseconds; all clocks start at zero or later.
fn nanoseconds(time: Timespec) -> u64 {
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(SECOND).saturating_add(nanoseconds.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_as_far_away_on_both_clocks() {
        let offset = Offset::now();
        let left = offset.deadline(Some(unix() + 100)).saturating_sub(monotonic());
        assert!((99 * SECOND..=101 * SECOND).contains(&left), "{left}");
    }

    #[test]
    fn the_past_is_zero_and_beyond_the_clock_is_never() {
        assert_eq!(Offset::now().deadline(Some(0)), 0);
        assert_eq!(Offset::now().deadline(Some(u64::MAX)), NEVER);
        assert_eq!(Offset::now().deadline(None), NEVER);
    }

    #[test]
    fn a_clock_step_is_noticed() {
        let offset = Offset(SECOND.into());
        assert!(!offset.differs_from(Offset(i128::from(SECOND) + 1_000_000)));
        assert!(offset.differs_from(Offset(i128::from(SECOND) * 2)));
    }
}
