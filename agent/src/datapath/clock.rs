//! The clock of the kernel maps.

use agent_ebpf::Nanoseconds;
use rustix::time::{ClockId, clock_gettime};

/// The time now, as the kernel programs read it (`CLOCK_MONOTONIC_COARSE`).
pub fn now() -> Nanoseconds {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
