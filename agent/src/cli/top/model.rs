//! What the screen shows: the latest look, how it differs from the one before, and what the user has chosen.

use super::look::{Look, Rate};
use crate::daemon::call::{PacketCount, SessionStatus};
use crate::session::SessionId;
use std::cmp::Reverse;

/// By what sessions are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// The oldest first.
    Age,
    /// The most dropped packets first.
    Drops,
    /// By cluster, key id and account.
    User,
}

impl Sort {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Drops => "drops",
            Self::User => "user",
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Age => Self::Drops,
            Self::Drops => Self::User,
            Self::User => Self::Age,
        }
    }
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To select a session so many places further down, or up.
    Move(isize),
    /// Another order of the sessions.
    Sort,
    /// To hold the picture still, or to let it go on.
    Pause,
    /// The end.
    Quit,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) look: Look,
    /// One for each of the look's counts; none before the second look.
    rates: Vec<Rate>,
    /// Why the agent did not answer the latest time, if it did not.
    pub(super) lost: Option<String>,
    pub(super) sort: Sort,
    pub(super) paused: bool,
    selected: usize,
    /// The session at that place, to be found again wherever it comes to stand.
    chosen: Option<SessionId>,
}

impl Model {
    pub(super) fn new(look: Look) -> Self {
        let mut model = Self {
            look,
            rates: Vec::new(),
            lost: None,
            sort: Sort::Age,
            paused: false,
            selected: 0,
            chosen: None,
        };
        model.arrange();
        model
    }

    /// Takes a look, or that there was none; while paused nothing changes.
    pub(super) fn take(&mut self, look: Result<Look, String>) {
        if self.paused {
            return;
        }
        match look {
            Ok(look) => {
                self.rates = look.rates(&self.look);
                self.look = look;
                self.lost = None;
                self.arrange();
            }
            Err(why) => {
                // A rate of long ago is none.
                self.rates.clear();
                self.lost = Some(why);
            }
        }
    }

    /// Does what the user wishes; false when that is the end.
    pub(super) fn obey(&mut self, wish: Wish) -> bool {
        match wish {
            Wish::Quit => return false,
            Wish::Pause => self.paused = !self.paused,
            Wish::Sort => {
                self.sort = self.sort.next();
                self.arrange();
            }
            Wish::Move(places) => {
                let last = self.sessions().len().saturating_sub(1);
                self.selected = self.selected.saturating_add_signed(places).min(last);
                self.chosen = self.selected().map(|session| session.record.id);
            }
        }
        true
    }

    /// The sessions in the order that was asked for.
    pub(super) fn sessions(&self) -> &[SessionStatus] {
        &self.look.sessions.sessions
    }

    /// The place of the selected session.
    pub(super) fn place(&self) -> usize {
        self.selected
    }

    /// The selected session, if there is any.
    pub(super) fn selected(&self) -> Option<&SessionStatus> {
        self.sessions().get(self.selected)
    }

    /// The counts with their rates.
    pub(super) fn packets(&self) -> impl Iterator<Item = (&PacketCount, Option<Rate>)> {
        let rates = self.rates.iter().copied().map(Some).chain(std::iter::repeat(None));
        self.look.status.packets.iter().zip(rates)
    }

    /// Sorts, and finds the selected session again.
    fn arrange(&mut self) {
        let sessions = &mut self.look.sessions.sessions;
        match self.sort {
            Sort::Age => sessions.sort_by_key(|it| (it.record.opened_at, it.record.id)),
            Sort::Drops => sessions.sort_by_key(|it| (Reverse(it.dropped), it.record.id)),
            Sort::User => sessions.sort_by_cached_key(|it| {
                let subject = &it.record.subject;
                (subject.cluster.clone(), subject.user.clone(), subject.login.clone(), it.record.id)
            }),
        }
        let found = self.chosen.and_then(|id| sessions.iter().position(|it| it.record.id == id));
        self.selected = found.unwrap_or(self.selected).min(sessions.len().saturating_sub(1));
        if found.is_none() {
            self.chosen = None;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::daemon::call::{Answer, SessionList};
    use serde_json::json;
    use std::time::{Duration, Instant};

    /// A session of a user, opened at a time, with packets dropped.
    pub(crate) fn session(id: u64, user: &str, opened_at: u64, dropped: u64) -> SessionStatus {
        serde_json::from_value(json!({
            "id": format!("{id:016x}"), "cluster": "example.com", "user": user, "login": user,
            "pinned": ["198.51.111.1/32"], "observed": "198.51.111.1", "opened_at": opened_at,
            "on_new_address": "keep", "mode": "enforce", "local": "198.51.100.10:22",
            "peer": "198.51.111.1:40000", "monitor": 1, "state": "live", "flows": 1, "dropped": dropped,
        }))
        .unwrap()
    }

    /// A look at a node with these sessions, on which so many packets were dropped of each reason.
    pub(crate) fn look(at: Instant, sessions: Vec<SessionStatus>, packets: u64) -> Look {
        let status = json!({
            "answer": "status",
            "version": "0.1.0", "pid": 4711, "started_at": 1_700_000_000, "takeover": "started afresh",
            "mode": { "mode": "enforce", "configured": "enforce" },
            "config_hash": "0", "reload_error": null, "login_ports": [22],
            "attachments": [{ "interface": "eth0", "method": "xdp" }],
            "not_covered": [{ "interface": "eth1", "cause": "failed", "why": "no TCX and no clsact" }],
            "sessions": sessions.len(), "max_sessions": 65536, "unmanaged": 0, "locks": 1, "penalties": 0,
            "packets": agent_ebpf::Reason::ALL.map(|reason| json!({
                "reason": reason.name(), "action": reason.action().name(), "packets": packets, "overruled": 0,
            })),
        });
        let Answer::Status(status) = serde_json::from_value(status).unwrap() else { panic!("no status") };
        let denial = serde_json::from_value(json!({
            "time": "2026-01-02T03:04:05.678Z", "node": "node", "mode": "enforce", "event": "login_denied",
            "reason": "pin_mismatch", "step": "session", "overruled": false, "cluster": "example.com",
            "user": "mallory", "login": "root", "observed": "198.51.222.2",
        }));
        let sessions = SessionList { sessions, unmanaged: Vec::new() };
        Look { at, status: *status, sessions, denials: vec![denial.unwrap()] }
    }

    /// Three sessions: the oldest is bob's, the one with the most drops alice's.
    pub(crate) fn three() -> Vec<SessionStatus> {
        vec![session(1, "carol", 200, 5), session(2, "alice", 300, 9), session(3, "bob", 100, 0)]
    }

    fn model() -> Model {
        Model::new(look(Instant::now(), three(), 100))
    }

    fn users(model: &Model) -> Vec<&str> {
        model.sessions().iter().map(|it| it.record.subject.user.as_deref().unwrap()).collect()
    }

    #[test]
    fn sessions_are_in_the_order_that_was_asked_for() {
        let mut model = model();
        assert_eq!(users(&model), ["bob", "carol", "alice"]);
        model.obey(Wish::Sort);
        assert_eq!(users(&model), ["alice", "carol", "bob"]);
        model.obey(Wish::Sort);
        assert_eq!(users(&model), ["alice", "bob", "carol"]);
        model.obey(Wish::Sort);
        assert_eq!(users(&model), ["bob", "carol", "alice"]);
    }

    #[test]
    fn the_selection_stays_with_its_session_and_within_the_list() {
        let mut model = model();
        model.obey(Wish::Move(-1));
        assert_eq!(model.place(), 0);
        model.obey(Wish::Move(10));
        assert_eq!(model.place(), 2);
        model.obey(Wish::Sort);
        assert_eq!((model.place(), users(&model)[0]), (0, "alice"));
        let later = model.look.at + Duration::from_secs(1);
        model.take(Ok(look(later, vec![session(1, "carol", 200, 5)], 100)));
        assert_eq!(model.selected().unwrap().record.subject.user.as_deref(), Some("carol"));
        model.take(Ok(look(later, Vec::new(), 100)));
        assert!(model.selected().is_none());
    }

    #[test]
    fn rates_are_those_between_the_two_latest_looks() {
        let mut model = model();
        assert!(model.packets().all(|(_, rate)| rate.is_none()));
        model.take(Ok(look(model.look.at + Duration::from_secs(4), three(), 110)));
        assert!(model.packets().all(|(_, rate)| rate.unwrap().packets == 2.5));
        model.take(Err("gone".to_owned()));
        assert!(model.packets().all(|(_, rate)| rate.is_none()));
        assert_eq!(model.lost.as_deref(), Some("gone"));
        model.take(Ok(look(model.look.at + Duration::from_secs(10), three(), 120)));
        assert!(model.packets().all(|(_, rate)| rate.unwrap().packets == 1.0));
        assert_eq!(model.lost, None);
    }

    #[test]
    fn nothing_changes_while_paused() {
        let mut model = model();
        model.obey(Wish::Pause);
        model.take(Ok(look(model.look.at, Vec::new(), 0)));
        model.take(Err("gone".to_owned()));
        assert_eq!((model.sessions().len(), model.lost.is_none()), (3, true));
        model.obey(Wish::Pause);
        model.take(Ok(look(model.look.at, Vec::new(), 0)));
        assert!(model.sessions().is_empty());
        assert!(!model.obey(Wish::Quit));
    }
}
