//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take on a busy machine before a test calls it lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` yields something, 30 s at most; `what` is told when it never does.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    within(PATIENCE, what, condition)
}

/// Waits until `condition` yields something, at most `limit`. An error of the condition ends the wait at once.
pub fn within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = condition()? {
            return Ok(found);
        }
        let waited = start.elapsed();
        if waited > limit {
            bail!("waited {limit:?} in vain: {what}");
        }
        // A look costs a slow machine more than a wait; and it takes its time until there is something to see.
        std::thread::sleep((waited / 4).clamp(Duration::from_millis(2), Duration::from_millis(250)));
    }
}
