//! Tells of connections that were closed before they began, and lets nobody flood the log with them.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::connection::ConnectionError;

/// How often one is told: anybody can make them.
const EVERY: Duration = Duration::from_secs(10);

static TOLD: Mutex<Told> = Mutex::new(Told { last: None, since: 0 });

/// What was told, and what was not.
#[derive(Debug)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

impl Told {
    /// Whether one more is to be told; if so, how many before it were not.
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < EVERY) {
            self.since += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// Tells whoever set up the balancers what is wrong with a connection.
pub(crate) fn tell(peer: SocketAddr, error: &ConnectionError) {
    // Who only looks whether the port is open has done nothing wrong.
    if matches!(error, ConnectionError::Ended(_)) {
        return;
    }
    let more = TOLD.lock().unwrap_or_else(PoisonError::into_inner).one_more(Instant::now());
    if let Some(more) = more {
        tracing::warn!("closed the connection from {peer}: {error} ({more} others since the last such line)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_seconds_is_told_and_the_others_are_counted() {
        let (mut told, start) = (Told { last: None, since: 0 }, Instant::now());
        assert_eq!(told.one_more(start), Some(0));
        assert_eq!(told.one_more(start + Duration::from_secs(1)), None);
        assert_eq!(told.one_more(start + Duration::from_secs(9)), None);
        assert_eq!(told.one_more(start + Duration::from_secs(10)), Some(2));
        assert_eq!(told.one_more(start + Duration::from_secs(20)), Some(0));
    }
}
