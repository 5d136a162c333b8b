//! The moment between a session's cut and its end, in which a process of its own tells its terminals why.
//!
//! The packets are stopped by then. Nobody waits: a session ends when its moment is over, whether the words came or not.

use super::{Live, SessionId, Sessions, State};
use crate::farewell::{Farewell, MOST_SESSIONS};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// From a session's cut to its end, at most; the sweep ends what nobody else has.
const PARTING: Duration = Duration::from_secs(1);
/// Groups of sessions that may wait to be told; beyond that they end without words.
const QUEUE: usize = 16;

/// Sessions that are cut, and what their terminals are told.
#[derive(Debug)]
pub(crate) struct Parting {
    /// Whose they are; [`MOST_SESSIONS`] at most.
    pub(crate) sessions: Vec<SessionId>,
    /// In the same order.
    pub(crate) words: Vec<Farewell>,
}

impl Sessions {
    /// From now on sessions that are cut come out here to be told; each is to be given to [`Sessions::end_parted`].
    pub(crate) fn say_farewell(&self) -> mpsc::Receiver<Parting> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.state().farewells = Some(sender);
        receiver
    }

    /// From now on sessions end without words; those that are parting end at once.
    pub(crate) fn say_no_more(&self) {
        let mut state = self.state();
        state.farewells = None;
        let all: Vec<SessionId> = state.live.keys().copied().collect();
        state.part_at_once(&all);
        self.end_what_is_cut(&mut state, |_| true);
    }

    /// Ends sessions whose terminals have been told.
    pub(crate) fn end_parted(&self, ids: &[SessionId]) {
        let mut state = self.state();
        state.part_at_once(ids);
        self.end_what_is_cut(&mut state, |id| ids.contains(id));
    }
}

impl State {
    /// Gives those of the sessions that are to end their moment, if somebody is there to tell their terminals.
    pub(super) fn let_part(&mut self, ids: &[SessionId]) {
        let Self { live, mode, farewells: Some(farewells), .. } = self else { return };
        let hears = |id: &&SessionId| live.get(id).is_some_and(|it| it.is_to_end(*mode) && it.is_untouched());
        let hearers: Vec<SessionId> = ids.iter().filter(hears).copied().collect();
        let until = Instant::now() + PARTING;
        for group in hearers.chunks(MOST_SESSIONS) {
            let words = group.iter().filter_map(|id| live.get(id)?.farewell()).collect();
            if farewells.try_send(Parting { sessions: group.to_vec(), words }).is_err() {
                return;
            }
            for id in group {
                live.entry(*id).and_modify(|it| it.parting = Some(until));
            }
        }
    }

    /// Ends the moment of those that have one.
    pub(super) fn part_at_once(&mut self, ids: &[SessionId]) {
        let now = Instant::now();
        for id in ids {
            if let Some(until) = self.live.get_mut(id).and_then(|it| it.parting.as_mut()) {
                *until = now.min(*until);
            }
        }
    }
}

impl Live {
    /// Nothing of it was ended yet, nor told that it will be.
    pub(super) fn is_untouched(&self) -> bool {
        self.ending == 0 && self.parting.is_none()
    }

    fn farewell(&self) -> Option<Farewell> {
        let (monitor, cgroup) = (self.record.monitor, self.record.cgroup.clone());
        self.cut.map(|cause| Farewell { monitor, cgroup, cause })
    }
}
