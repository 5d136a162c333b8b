//! The connections that sessions have opened to nodes, which are told when the sessions are over.

use crate::session::SessionId;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// Of one session; of more, the nodes notice by themselves that the connections are gone.
const MOST_OF_ONE: usize = 256;

/// A connection of a session's: this node's end, and the other node's.
pub(crate) type Ends = (SocketAddr, SocketAddr);

/// Those that were vouched for, the oldest of each session first.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    by_session: HashMap<SessionId, VecDeque<Ends>>,
}

impl Departed {
    /// Remembers one. Whose it was before that has closed it.
    pub(crate) fn remember(&mut self, session: SessionId, ends: Ends) {
        for others in self.by_session.values_mut() {
            others.retain(|other| *other != ends);
        }
        let of_session = self.by_session.entry(session).or_default();
        if of_session.len() >= MOST_OF_ONE {
            of_session.pop_front();
        }
        of_session.push_back(ends);
    }

    /// Forgets those of sessions that are no more; which they were.
    pub(crate) fn take_ended(&mut self, lives: impl Fn(SessionId) -> bool) -> Vec<(SessionId, Ends)> {
        let ended: Vec<SessionId> = self.by_session.keys().copied().filter(|id| !lives(*id)).collect();
        let take = |id| self.by_session.remove(&id).into_iter().flatten().map(move |ends| (id, ends));
        ended.into_iter().flat_map(take).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(port: u16) -> Ends {
        (SocketAddr::from(([192, 0, 2, 1], port)), SocketAddr::from(([192, 0, 2, 2], 22)))
    }

    fn session(id: &str) -> SessionId {
        id.parse().unwrap()
    }

    #[test]
    fn the_connections_of_a_session_are_told_once_when_it_is_over() {
        let (one, other) = (session("0000000000000001"), session("0000000000000002"));
        let mut departed = Departed::default();
        departed.remember(one, ends(1));
        departed.remember(other, ends(2));
        assert_eq!(departed.take_ended(|_| true), []);
        assert_eq!(departed.take_ended(|id| id == other), [(one, ends(1))]);
        assert_eq!(departed.take_ended(|id| id == other), []);
    }

    #[test]
    fn a_connection_belongs_to_who_has_opened_it_last() {
        let (one, other) = (session("0000000000000001"), session("0000000000000002"));
        let mut departed = Departed::default();
        departed.remember(one, ends(1));
        departed.remember(other, ends(1));
        assert_eq!(departed.take_ended(|id| id == other), []);
    }

    #[test]
    fn of_a_session_with_very_many_the_latest_are_known() {
        let one = session("0000000000000001");
        let mut departed = Departed::default();
        (0..=MOST_OF_ONE as u16).for_each(|port| departed.remember(one, ends(port)));
        let ended = departed.take_ended(|_| false);
        assert_eq!((ended.len(), ended[0]), (MOST_OF_ONE, (one, ends(1))));
    }
}
