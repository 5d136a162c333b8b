//! Bounds what one unauthenticated connection may ask: a certificate can be offered hundreds of times in one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Questions that one connection may ask; a login needs two for each certificate that the client tries.
const PER_CONNECTION: u32 = 64;
/// Most connections that are counted.
const MAX_CONNECTIONS: usize = 4096;
/// How long a connection is remembered after its first question; longer than sshd lets it stay unauthenticated.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Questions by connection, bounded in memory.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    connections: HashMap<u64, (Instant, u32)>,
}

impl Queries {
    /// Counts one question of a connection; false if it has asked enough.
    pub(crate) fn admit(&mut self, cookie: u64, now: Instant) -> bool {
        if self.connections.len() >= MAX_CONNECTIONS {
            self.connections.retain(|_, (first, _)| now.duration_since(*first) < REMEMBERED);
        }
        if self.connections.len() >= MAX_CONNECTIONS && !self.connections.contains_key(&cookie) {
            // Full of connections of the last minutes: counting begins anew, which still bounds what all of them get.
            self.connections.clear();
        }
        let (_, asked) = self.connections.entry(cookie).or_insert((now, 0));
        *asked = asked.saturating_add(1);
        *asked <= PER_CONNECTION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_gets_so_many_answers_and_others_are_not_affected() {
        let (mut queries, now) = (Queries::default(), Instant::now());
        assert_eq!((0..973).filter(|_| queries.admit(7, now)).count(), 64);
        assert!(queries.admit(8, now));
    }

    #[test]
    fn a_flood_of_connections_is_bounded_in_memory() {
        let (mut queries, now) = (Queries::default(), Instant::now());
        assert!((0..100_000).all(|cookie| queries.admit(cookie, now)), "nobody is kept out");
        assert!(queries.connections.len() <= MAX_CONNECTIONS);
    }
}
