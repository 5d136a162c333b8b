//! Waiting until every packet that is on its way through the kernel's hooks has left them.
#![expect(unsafe_code, reason = "membarrier(2) has no safe wrapper")]

use std::thread::sleep;
use std::time::Duration;

/// `MEMBARRIER_CMD_GLOBAL` of `linux/membarrier.h`.
const GLOBAL: libc::c_int = 1;
/// Instead, where the kernel does not do it (`nohz_full`): far longer than a packet takes.
const PAUSE: Duration = Duration::from_millis(200);

/// A packet that had passed a place before ours was put there may not have come to where ours was before. Returns once
/// there is none: an RCU grace period has gone by, which is what `MEMBARRIER_CMD_GLOBAL` waits for (Linux 4.3).
pub(super) fn wait() {
    let flags: libc::c_uint = 0;
    // SAFETY: the call takes two numbers, and neither reads nor writes this process's memory.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, flags) };
    if done != 0 {
        sleep(PAUSE);
    }
}
