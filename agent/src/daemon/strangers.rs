//! Connections to login ports that have no session: on their way in, older than the agent, or there to stay.

use super::call::Unmanaged;
use crate::connections::Connection;
use crate::source::source;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Beyond LoginGraceTime, so that sshd ends what it can end by itself.
const MARGIN: Duration = Duration::from_secs(5);

/// What is known of them, by socket cookie.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    seen: HashMap<u64, Stranger>,
}

#[derive(Debug)]
struct Stranger {
    connection: Connection,
    since: Instant,
    /// It was ended once; the kernel drops its packets.
    ended: bool,
    /// Not the agent's to end: it was there before, or was let in while the agent could not record it.
    unmanaged: bool,
}

/// What the agent knows at the moment of a look.
pub(super) struct Look<'a> {
    /// Connections to login ports that belong to no session.
    pub(super) without_session: Vec<Connection>,
    /// Connections that the hook let in by itself.
    pub(super) marked: &'a HashSet<u64>,
    /// Connections seen now for the first time are not the agent's to end.
    pub(super) lenient: bool,
    /// sshd's LoginGraceTime.
    pub(super) grace: Duration,
}

impl Strangers {
    /// Takes note of what is there now; those that have stayed too long.
    pub(super) fn look(&mut self, look: &Look<'_>, now: Instant) -> Vec<Connection> {
        let here: HashSet<u64> = look.without_session.iter().map(|connection| connection.cookie).collect();
        self.seen.retain(|cookie, _| here.contains(cookie));
        for &connection in &look.without_session {
            let unmanaged = look.lenient || look.marked.contains(&connection.cookie);
            let stranger = self.seen.entry(connection.cookie);
            stranger.or_insert(Stranger { connection, since: now, ended: false, unmanaged }).unmanaged |=
                unmanaged;
        }
        let due = self
            .seen
            .values_mut()
            .filter(|it| !it.unmanaged && !it.ended && now.duration_since(it.since) >= look.grace + MARGIN);
        due.map(|stranger| {
            stranger.ended = true;
            stranger.connection
        })
        .collect()
    }

    /// Whether one of those that are not the agent's to end comes from a source.
    pub(super) fn any_unmanaged_from(&self, from: IpAddr) -> bool {
        self.seen.values().any(|stranger| stranger.unmanaged && source(stranger.connection.peer.ip()) == from)
    }

    /// Who is connected to these ports and is not the agent's to end.
    pub(super) fn unmanaged_at(&self, ports: &[u16]) -> HashSet<IpAddr> {
        let unmanaged = self.seen.values().filter(|stranger| stranger.unmanaged).map(|it| it.connection);
        unmanaged.filter(|it| ports.contains(&it.local.port())).map(|it| it.peer.ip()).collect()
    }

    /// Those that are not the agent's to end.
    pub(super) fn unmanaged(&self) -> Vec<Unmanaged> {
        let unmanaged =
            self.seen.values().filter(|stranger| stranger.unmanaged).map(|stranger| stranger.connection);
        let mut listed: Vec<_> = unmanaged
            .map(|it| Unmanaged { local: it.local.to_string(), peer: it.peer.to_string() })
            .collect();
        listed.sort_by(|first, second| first.peer.cmp(&second.peer));
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(120);

    fn connection(cookie: u64) -> Connection {
        Connection { local: ([192, 0, 2, 1], 22).into(), peer: ([192, 0, 2, 2], 50_000).into(), cookie }
    }

    fn look(
        strangers: &mut Strangers,
        cookies: &[u64],
        marked: &[u64],
        lenient: bool,
        now: Instant,
    ) -> Vec<u64> {
        let look = Look {
            without_session: cookies.iter().copied().map(connection).collect(),
            marked: &marked.iter().copied().collect(),
            lenient,
            grace: GRACE,
        };
        strangers.look(&look, now).iter().map(|connection| connection.cookie).collect()
    }

    #[test]
    fn who_stays_without_a_session_is_ended_after_the_grace_time() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        assert!(look(&mut strangers, &[1], &[], false, now).is_empty());
        assert!(look(&mut strangers, &[1, 2], &[], false, now + GRACE).is_empty());
        assert_eq!(look(&mut strangers, &[1, 2], &[], false, now + GRACE + MARGIN), [1]);
    }

    #[test]
    fn who_was_there_before_or_was_let_in_by_the_hook_is_left_alone() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        assert!(look(&mut strangers, &[1], &[], true, now).is_empty());
        assert!(look(&mut strangers, &[1, 2], &[2], false, now).is_empty());
        assert!(look(&mut strangers, &[1, 2], &[], false, now + 10 * GRACE).is_empty());
        assert_eq!(strangers.unmanaged().len(), 2);
    }

    #[test]
    fn who_left_is_forgotten() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        look(&mut strangers, &[1], &[], true, now);
        look(&mut strangers, &[], &[], false, now);
        assert!(strangers.unmanaged().is_empty());
    }
}
