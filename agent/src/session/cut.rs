//! Cutting sessions: in the kernel first, then their sockets, then what the configuration says of their processes.

use super::{Live, Record, SessionId, Sessions, State, doom};
use crate::audit::{CutCause, What};
use crate::clock;
use crate::config::OnCut;
use crate::connections::Connection;
use crate::datapath::Tables;
use cotter_hook::connection::{Ended, destroy_flow};
use cotter_hook::process::Pid;
use pinning::{Lock, LockSubject, Mode};
use std::net::SocketAddr;
use std::time::Instant;

/// How often ending a cut session's socket and processes is tried; its packets are dropped in any case.
const TRIES: u32 = 5;

/// Whether terminals are told before their session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    Said,
    None,
}

impl Sessions {
    /// Cuts one session; none of that id is `None`, else the number of sockets that this closes, at once or when its
    /// terminals have been told. In audit mode the kernel counts what it would drop and the sockets stay, unless an
    /// administrator cut this very session.
    pub fn cut(&self, id: SessionId, cause: CutCause) -> Option<usize> {
        self.cut_all(&[id], cause, Words::Said).pop().map(|(_, sockets)| sockets)
    }

    /// Cuts a session that nobody has been let into yet: a lock came first.
    pub fn refuse(&self, id: SessionId) {
        self.cut_all(&[id], CutCause::Lock, Words::None);
    }

    /// Cuts every session that is not cut yet and matches.
    pub fn cut_where(&self, cause: CutCause, matches: impl Fn(&Record) -> bool) -> Vec<SessionId> {
        let found: Vec<SessionId> = {
            let state = self.state();
            let uncut = state.live.values().filter(|live| live.cut.is_none() && matches(&live.record));
            uncut.map(|live| live.record.id).collect()
        };
        self.cut_all(&found, cause, Words::Said).into_iter().map(|(id, _)| id).collect()
    }

    /// Cuts the session that came by this connection, the bastion's end of it and this node's, in this session there.
    pub(crate) fn cut_relayed(&self, peer: SocketAddr, local: SocketAddr, there: &str) {
        let found: Vec<SessionId> = {
            let state = self.state();
            let came = |live: &&Live| {
                live.outer.is_some_and(|outer| (outer.peer, outer.local) == (peer, local))
                    && live.record.via.as_ref().is_some_and(|via| via.session == there)
            };
            let uncut = state.live.values().filter(|live| live.cut.is_none()).filter(came);
            uncut.map(|live| live.record.id).collect()
        };
        self.cut_all(&found, CutCause::Relay, Words::Said);
    }

    /// The packets of all of them are stopped before the first socket or terminal is touched.
    fn cut_all(&self, ids: &[SessionId], cause: CutCause, words: Words) -> Vec<(SessionId, usize)> {
        let mut state = self.state();
        let State { tables, live, mode, .. } = &mut *state;
        for id in ids {
            if let Some(session) = live.get_mut(id) {
                stop_packets(tables, session, cause, *mode);
            }
        }
        state.settle_grants(ids);
        self.settle_accounts(&mut state);
        match words {
            Words::Said => state.let_part(ids),
            Words::None => state.part_at_once(ids),
        }
        let State { live, mode, on_cut, .. } = &mut *state;
        let mut cut = Vec::new();
        for id in ids {
            if let Some(session) = live.get_mut(id) {
                let sockets = self.end(session, *mode, *on_cut);
                cut.push((*id, sockets, session.is_untouched(), session.record.subject.clone()));
            }
        }
        drop(state);
        cut.into_iter()
            .map(|(id, sockets, overruled, subject)| {
                let what = What::SessionCut { session: id.to_string(), cause, sockets, overruled };
                self.audit.write(what, subject);
                (id, sockets)
            })
            .collect()
    }

    /// Ends a cut session's socket and, if configured, its processes; the number of sockets ended. While the session
    /// is parting, the number of those that are ended then.
    fn end(&self, live: &mut Live, mode: Mode, on_cut: OnCut) -> usize {
        if live.parting.is_some_and(|until| Instant::now() < until) {
            return live.connections().count();
        }
        if !live.is_to_end(mode) || live.ending >= TRIES {
            return 0;
        }
        live.ending += 1;
        let monitor = live.record.monitor;
        let sockets = live.connections().filter(|connection| destroy(connection, monitor)).count();
        if let (OnCut::Kill, Some(cgroups), Some(cgroup)) = (on_cut, &self.cgroups, &live.record.cgroup)
            && let Err(error) = cgroups.kill(cgroup)
        {
            tracing::warn!("session {}: its processes go on: {error}", live.record.id);
        }
        sockets
    }

    /// Cuts every session that a lock matches.
    pub fn cut_locked(&self, lock: &Lock) -> Vec<SessionId> {
        let now = clock::unix();
        self.cut_where(CutCause::Lock, |record| lock_matches(lock, record, now))
    }

    /// Cuts every session whose end has come.
    pub fn cut_expired(&self) {
        let now = clock::unix();
        self.cut_where(CutCause::Expired, |record| record.ends_at.is_some_and(|end| end <= now));
    }

    /// When the next session ends by itself, Unix seconds.
    #[must_use]
    pub fn next_end(&self) -> Option<u64> {
        let state = self.state();
        state.live.values().filter(|live| live.cut.is_none()).filter_map(|live| live.record.ends_at).min()
    }

    /// The node's mode and what becomes of processes; what was only marked as cut while the node was lenient is
    /// ended as soon as it is not.
    pub fn set_mode(&self, mode: Mode, on_cut: OnCut) {
        let mut state = self.state();
        (state.mode, state.on_cut) = (mode, on_cut);
        self.end_what_is_cut(&mut state, |_| true);
    }

    /// Takes the mark of a lock off sessions that it did not end, unless something still locks them.
    pub fn forgive(&self, is_locked: impl Fn(&Record) -> bool) {
        let mut state = self.state();
        let State { tables, live, .. } = &mut *state;
        let marked = live
            .values_mut()
            .filter(|it| it.cut == Some(CutCause::Lock) && it.is_untouched() && !doom::is_doomed(&it.kernel));
        for session in marked.filter(|it| !is_locked(&it.record)).collect::<Vec<_>>() {
            session.cut = None;
            session.kernel = doom::lifted(session.kernel);
            if let Err(error) = tables.update_session(session.record.id.into(), &session.kernel) {
                tracing::error!("session {}: its lock stays in the kernel: {error}", session.record.id);
            }
        }
    }

    /// Ends sockets of cut sessions that are still there; of those that are meant.
    pub(super) fn end_what_is_cut(&self, state: &mut State, is_meant: impl Fn(&SessionId) -> bool) {
        let State { live, mode, on_cut, .. } = state;
        for (_, session) in live.iter_mut().filter(|(id, session)| session.cut.is_some() && is_meant(id)) {
            self.end(session, *mode, *on_cut);
        }
    }
}

impl Live {
    /// Whether what the session still has open is ended: it is cut, and where that counts or did when it was.
    pub(super) fn is_to_end(&self, mode: Mode) -> bool {
        let enforced = mode.min(self.record.mode) == Mode::Enforce;
        self.cut.is_some_and(|cause| enforced || cause == CutCause::Command || doom::is_doomed(&self.kernel))
    }
}

fn stop_packets(tables: &Tables, session: &mut Live, cause: CutCause, mode: Mode) {
    session.cut = Some(cause);
    session.kernel = doom::cut(session.kernel, cause, session.is_to_end(mode));
    let id = session.record.id;
    if let Err(error) = tables.update_session(id.into(), &session.kernel) {
        tracing::error!("session {id}: its packets could not be stopped: {error}");
    }
}

/// Ends one socket; true if that ended it. One that the kernel does not find by its addresses alone (bound to a device,
/// link-local) is ended through the process that holds it.
fn destroy(connection: &Connection, monitor: u32) -> bool {
    let found = destroy_flow(connection.local, connection.peer, connection.cookie);
    let ended = match found {
        Ok(Ended::Gone) => Ok(through_monitor(connection, monitor).unwrap_or(Ended::Gone)),
        other => other,
    };
    match ended {
        Ok(Ended::Destroyed | Ended::ShutDown) => true,
        Ok(Ended::Gone) => false,
        Err(error) => {
            tracing::warn!("{}: its socket could not be closed: {error}", connection.peer);
            false
        }
    }
}

fn through_monitor(connection: &Connection, monitor: u32) -> Option<Ended> {
    let monitor = Pid::from_raw(i32::try_from(monitor).ok()?)?;
    let held = cotter_hook::connection::Connection::with_cookie(monitor, connection.cookie).ok()?;
    held.destroy().ok()
}

/// Whether a lock is laid on a session.
pub(crate) fn lock_matches(lock: &Lock, record: &Record, now: u64) -> bool {
    let subject = &record.subject;
    let session = record.id.to_string();
    let about = LockSubject {
        cluster: subject.cluster.as_deref(),
        key_id: subject.user.as_deref(),
        serial: subject.serial,
        login: subject.login.as_deref().unwrap_or_default(),
        session: Some(&session),
        address: Some(record.address().into()),
    };
    !record.break_glass && lock.matches(&about, now)
}
