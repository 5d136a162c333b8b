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
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = condition()? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("waited {limit:?} in vain: {what}");
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(50));
    }
}
