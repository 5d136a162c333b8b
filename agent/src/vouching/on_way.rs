//! Statements that are on their way to nodes: a session that connects to where nobody answers keeps no other waiting.

use crate::session::SessionId;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of one session at once.
pub(crate) const MOST_OF_ONE: usize = 64;

/// How many there are of each session.
#[derive(Debug, Default)]
pub(crate) struct OnWay {
    by_session: HashMap<SessionId, Arc<Semaphore>>,
}

impl OnWay {
    /// One more, on its way until what is returned is dropped; none if there are that many already.
    pub(crate) fn one_more(&mut self, session: SessionId) -> Option<OwnedSemaphorePermit> {
        let places = self.by_session.entry(session).or_insert_with(|| Arc::new(Semaphore::new(MOST_OF_ONE)));
        Arc::clone(places).try_acquire_owned().ok()
    }

    /// Forgets sessions that have none.
    pub(crate) fn tidy(&mut self) {
        self.by_session.retain(|_, places| places.available_permits() < MOST_OF_ONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_so_many_and_takes_none_from_others() {
        let (one, other): (SessionId, SessionId) =
            ("0000000000000001".parse().unwrap(), "0000000000000002".parse().unwrap());
        let mut on_way = OnWay::default();
        let mut all: Vec<_> = (0..MOST_OF_ONE).map(|_| on_way.one_more(one).unwrap()).collect();
        assert!(on_way.one_more(one).is_none());
        assert!(on_way.one_more(other).is_some());
        on_way.tidy();
        assert_eq!(on_way.by_session.len(), 1);
        all.pop();
        assert!(on_way.one_more(one).is_some());
    }
}
