//! A login of the same person from elsewhere: what it does to their older sessions, by those sessions' own roles.

use super::{Live, Record, SessionId, Sessions, State};
use crate::audit::{CutCause, Subject, What};
use agent_ebpf::Session;
use ipnet::IpNet;
use pinning::OnNewAddress;
use std::collections::HashMap;
use std::net::IpAddr;

/// A person: a cluster and a key id, never one without the other.
type Person = (String, String);

/// Where a session went after.
struct Followed {
    session: SessionId,
    subject: Subject,
}

impl Sessions {
    /// Cuts, or lets follow, the same person's sessions that are pinned elsewhere than a new one.
    pub(super) fn meet(&self, new: &Record) {
        let Some(person) = person(&new.subject) else { return };
        self.cut_where(CutCause::NewAddress, |old| {
            old.id != new.id
                && old.on_new_address == OnNewAddress::Cut
                && self::person(&old.subject).as_ref() == Some(&person)
                && is_elsewhere(old, new.peer.ip())
        });
        self.follow_logins(|old| old.id != new.id, Some(new.id));
    }

    /// Moves the pins of sessions whose roles let them follow to those of their person's latest login.
    ///
    /// A connection cannot change its address, so a session with one is where that is; it follows once that is closed.
    pub(super) fn follow_latest_logins(&self) {
        self.follow_logins(|_| true, None);
    }

    fn follow_logins(&self, may: impl Fn(&Record) -> bool, just_opened: Option<SessionId>) {
        let followed = {
            let mut state = self.state();
            let leaders = leaders(&state, just_opened);
            let followed = if leaders.is_empty() { Vec::new() } else { state.follow(&leaders, may) };
            if !followed.is_empty() {
                self.settle_accounts(&mut state);
            }
            followed
        };
        for Followed { session, subject } in followed {
            self.audit.write(What::SessionFollowed { session: session.to_string() }, subject);
        }
    }
}

/// A login that others may follow.
struct Leader {
    id: SessionId,
    opened_at: u64,
    kernel: Session,
    pinned: Vec<String>,
    observed: Option<String>,
    /// Nothing can be later.
    is_new: bool,
}

/// Each person's latest login that is pinned and connected.
fn leaders(state: &State, just_opened: Option<SessionId>) -> HashMap<Person, Leader> {
    let mut leaders: HashMap<Person, Leader> = HashMap::new();
    let fit = |live: &&Live| {
        live.connection.is_some()
            && live.cut.is_none()
            && !live.kernel.is_unpinned()
            && !live.record.break_glass
    };
    for live in state.live.values().filter(fit) {
        let Some(person) = person(&live.record.subject) else { continue };
        let is_new = just_opened == Some(live.record.id);
        let later = |than: &Leader| is_new || !than.is_new && live.record.opened_at > than.opened_at;
        if just_opened.is_some() && !is_new || leaders.get(&person).is_some_and(|other| !later(other)) {
            continue;
        }
        let leader = Leader {
            id: live.record.id,
            opened_at: live.record.opened_at,
            kernel: live.kernel,
            pinned: live.record.subject.pinned.clone(),
            observed: live.record.subject.observed.clone(),
            is_new,
        };
        leaders.insert(person, leader);
    }
    leaders
}

impl State {
    fn follow(&mut self, leaders: &HashMap<Person, Leader>, may: impl Fn(&Record) -> bool) -> Vec<Followed> {
        let Self { tables, live, .. } = self;
        let mut followed = Vec::new();
        for session in live.values_mut().filter(|live| live.may_follow() && may(&live.record)) {
            let leader = person(&session.record.subject).and_then(|person| leaders.get(&person));
            let Some(leader) = leader.filter(|leader| session.comes_before(leader)) else { continue };
            let moved = session.kernel.moved_to(&leader.kernel);
            session.record.pinned_at = Some(leader.opened_at);
            session.record.subject.pinned.clone_from(&leader.pinned);
            if moved == session.kernel {
                continue;
            }
            let id = session.record.id.into();
            let written = tables.update_session(id, &moved).and_then(|_| match session.record.encode() {
                Ok(details) => tables.set_details(id, &details),
                Err(_) => Ok(()),
            });
            if let Err(error) = written {
                tracing::error!("session {} stays where it was pinned: {error}", session.record.id);
                continue;
            }
            session.kernel = moved;
            let subject = Subject { observed: leader.observed.clone(), ..session.record.subject.clone() };
            followed.push(Followed { session: session.record.id, subject });
        }
        followed
    }
}

impl Live {
    fn may_follow(&self) -> bool {
        self.record.on_new_address == OnNewAddress::Follow
            && self.connection.is_none()
            && self.cut.is_none()
            && !self.kernel.is_unpinned()
    }

    /// Whether a login came after the one that this session is pinned by.
    fn comes_before(&self, leader: &Leader) -> bool {
        let pinned_at = self.record.pinned_at.unwrap_or(self.record.opened_at);
        self.record.id != leader.id && (leader.is_new || leader.opened_at > pinned_at)
    }
}

fn person(subject: &Subject) -> Option<Person> {
    Some((subject.cluster.clone()?, subject.user.clone()?))
}

/// Outside the pins, or at another address than an unpinned session.
fn is_elsewhere(old: &Record, address: IpAddr) -> bool {
    let mut pins = old.subject.pinned.iter().filter_map(|pin| pin.parse::<IpNet>().ok()).peekable();
    match pins.peek() {
        None => old.peer.ip() != address,
        Some(_) => !pins.any(|pin| pin.contains(&address)),
    }
}
