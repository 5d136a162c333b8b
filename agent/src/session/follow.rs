//! Following sessions to their true end: the connection's socket is closed and no process of theirs is left.

use super::{Cgroups, Live, SessionId, Sessions, State, account, own, snapshot};
use crate::audit::What;
use crate::clock::{self, Offset};
use crate::connections::Connection;
use crate::datapath::Tables;
use agent_ebpf::{FlowKey, Reason, SessionState};
use std::collections::HashSet;
use std::sync::Arc;

/// What becomes of one session in a sweep.
struct Ended {
    live: Live,
    dropped: u64,
}

impl Sessions {
    /// Looks after every session: notices closed connections and sessions that are over, reports drops, follows the
    /// wall clock.
    pub fn sweep(&self) {
        self.follow_the_clock();
        self.cut_expired();
        let closed = self.closed();
        let ended = {
            let mut state = self.state();
            let closing: Vec<_> =
                closed.iter().filter_map(|cookie| state.by_cookie.get(cookie).copied()).collect();
            let ended = take_ended(&mut state, &closed, self.cgroups.as_ref());
            let over = ended.iter().map(|ended| ended.live.record.id);
            state.settle_grants(&closing.into_iter().chain(over).collect::<Vec<_>>());
            state.tend_grants();
            self.settle_accounts(&mut state);
            self.end_what_is_cut(&mut state, |_| true);
            ended
        };
        if let Some(cgroups) = &self.cgroups {
            let own = ended.iter().filter_map(|ended| ended.live.record.cgroup.as_deref());
            for cgroup in own {
                cgroups.remove_own(cgroup);
            }
        }
        self.remove_forsaken();
        self.follow_latest_logins();
        self.adopt_sockets();
        for Ended { live, dropped } in ended {
            let session = live.record.id.to_string();
            self.audit.write(What::SessionClosed { session, dropped }, live.record.subject);
        }
    }

    /// Connections of sessions whose sockets have closed. The tables are read without keeping logins waiting.
    fn closed(&self) -> HashSet<u64> {
        let tables = Arc::clone(&self.state().tables);
        let connections = self.connections();
        connections
            .into_iter()
            .filter(|connection| !is_open(&tables, connection))
            .map(|it| it.cookie)
            .collect()
    }

    /// Removes the flows of connections whose sockets are known to be gone though nobody saw them close, because the
    /// programs were not loaded at that moment.
    pub fn forget(&self, gone: &[Connection]) {
        let state = self.state();
        for connection in gone {
            let key = FlowKey::tcp(connection.peer, connection.local);
            if let Err(error) = state.tables.remove_flow(&key, connection.cookie) {
                tracing::error!("{}: its closed connection stays in the tables: {error}", connection.peer);
            }
        }
    }

    /// Reports a session's first dropped packet.
    pub fn report_first_drop(&self, id: SessionId, reason: String, overruled: bool) {
        let subject = {
            let mut state = self.state();
            let Some(session) = state.live.get_mut(&id).filter(|session| session.reported == 0) else {
                return;
            };
            session.reported = 1;
            session.record.subject.clone()
        };
        let session = Some(id.to_string());
        self.audit.write(What::PacketsDropped { session, reason, count: 1, overruled }, subject);
    }

    /// Reports what the kernel dropped of each session since the last report.
    pub fn report_drops(&self) {
        let mut reports = Vec::new();
        {
            let mut state = self.state();
            let State { tables, live, .. } = &mut *state;
            for session in live.values_mut() {
                let drops = tables.drops(session.record.id.into()).ok().flatten().unwrap_or_default();
                let all = drops.dropped() + drops.overruled();
                if all > session.reported {
                    reports.push((
                        session.record.clone(),
                        session.reason(),
                        all - session.reported,
                        drops.dropped() == 0,
                    ));
                    session.reported = all;
                }
            }
        }
        for (record, reason, count, overruled) in reports {
            let reason = reason.name().to_owned();
            let session = Some(record.id.to_string());
            self.audit.write(What::PacketsDropped { session, reason, count, overruled }, record.subject);
        }
    }

    /// Wall time moved against the kernel's clock (suspend, a clock step): writes every deadline anew.
    fn follow_the_clock(&self) {
        let mut state = self.state();
        let now = Offset::now();
        if now.differs_from(state.clock) {
            state.clock = now;
            state.write_deadlines();
        }
    }
}

impl State {
    /// Writes the deadlines of all sessions and accounts as the clocks stand to each other now.
    pub(super) fn write_deadlines(&mut self) {
        let Self { tables, live, accounts, clock, .. } = self;
        for session in live.values_mut().filter(|session| session.record.ends_at.is_some()) {
            session.kernel = session.kernel.with_deadline(clock.deadline(session.record.ends_at));
            if let Err(error) = tables.update_session(session.record.id.into(), &session.kernel) {
                tracing::error!("session {}: its deadline could not be moved: {error}", session.record.id);
            }
        }
        account::write_deadlines(tables, accounts, *clock);
    }
}

/// Takes the sessions that are over out of the kernel's maps.
fn take_ended(state: &mut State, closed: &HashSet<u64>, cgroups: Option<&Cgroups>) -> Vec<Ended> {
    let State { tables, live, by_cookie, .. } = state;
    for session in live.values_mut() {
        for connection in [&mut session.connection, &mut session.outer] {
            if let Some(gone) = connection.take_if(|connection| closed.contains(&connection.cookie)) {
                by_cookie.remove(&gone.cookie);
            }
        }
    }
    let over = live.values().filter(|session| is_over(session, cgroups)).map(|it| it.record.id);
    let mut ended = Vec::new();
    for id in over.collect::<Vec<_>>() {
        let dropped = snapshot::dropped(tables, id);
        if let Err(error) = tables.remove_session(id.into()) {
            tracing::error!("session {id} is over but stays in the tables: {error}");
        }
        if let Some(session) = live.get(&id) {
            own::release(tables, session);
        }
        ended.extend(live.remove(&id).map(|live| Ended { live, dropped }));
    }
    ended
}

/// Whether a connection's flow is still there; the kernel removes it when the socket closes.
fn is_open(tables: &Tables, connection: &Connection) -> bool {
    match tables.flow(&FlowKey::tcp(connection.peer, connection.local)) {
        Ok(flow) => flow.is_some_and(|flow| flow.cookie() == connection.cookie),
        Err(error) => {
            tracing::error!("{}: its flow cannot be read: {error}", connection.peer);
            true
        }
    }
}

/// Its connection is closed, the balancer's too, and its cgroup, if it had one of its own, is empty.
fn is_over(session: &Live, cgroups: Option<&Cgroups>) -> bool {
    let populated = || match (cgroups, &session.record.cgroup) {
        (Some(cgroups), Some(cgroup)) => cgroups.is_populated(cgroup),
        (None, _) | (_, None) => false,
    };
    session.connections().next().is_none() && !populated()
}

impl Live {
    /// Why its packets are dropped, if they are.
    fn reason(&self) -> Reason {
        match self.kernel.state() {
            SessionState::Cut => Reason::SessionCut,
            SessionState::Live if self.kernel.is_over(clock::monotonic) => Reason::SessionExpired,
            SessionState::Live => Reason::AddressMismatch,
        }
    }

    /// `live` or `cut`, for listings.
    pub(super) fn state(&self) -> &'static str {
        match self.kernel.state() {
            SessionState::Live => "live",
            SessionState::Cut => "cut",
        }
    }
}
