//! A login of the same person from elsewhere: what it does to their older sessions, by those sessions' own roles.

use super::{Live, OpenError, Record, SessionId, Sessions, State};
use crate::audit::{CutCause, Subject, What};
use crate::datapath::Tables;
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
    at: IpAddr,
    /// Nothing can be later.
    is_new: bool,
}

/// Each person's latest login that others may follow.
fn leaders(state: &State, just_opened: Option<SessionId>) -> HashMap<Person, Leader> {
    let mut leaders: HashMap<Person, Leader> = HashMap::new();
    for live in state.live.values().filter(|live| live.may_lead()) {
        let is_new = just_opened == Some(live.record.id);
        if just_opened.is_some() && !is_new {
            continue;
        }
        let Some(person) = person(&live.record.subject) else { continue };
        let later = |than: &Leader| is_new || !than.is_new && live.record.opened_at > than.opened_at;
        if leaders.get(&person).is_some_and(|other| !later(other)) {
            continue;
        }
        let leader = Leader {
            id: live.record.id,
            opened_at: live.record.opened_at,
            kernel: live.kernel,
            pinned: live.record.subject.pinned.clone(),
            observed: live.record.subject.observed.clone(),
            at: live.record.peer.ip(),
            is_new,
        };
        leaders.insert(person, leader);
    }
    leaders
}

impl State {
    fn follow(&mut self, leaders: &HashMap<Person, Leader>, may: impl Fn(&Record) -> bool) -> Vec<Followed> {
        let Self { tables, live, .. } = self;
        let (mut followed, mut written) = (Vec::new(), Vec::new());
        for session in live.values_mut().filter(|live| live.may_follow() && may(&live.record)) {
            let leader = person(&session.record.subject).and_then(|person| leaders.get(&person));
            let Some(leader) = leader.filter(|leader| session.comes_before(leader)) else { continue };
            let moved = session.kernel.moved_to(&leader.kernel);
            let mut record = session.record.clone();
            (record.pinned_at, record.at) = (Some(leader.opened_at), Some(leader.at));
            record.subject.pinned.clone_from(&leader.pinned);
            if let Err(error) = write(tables, &record, &moved) {
                tracing::error!("session {} stays where it was pinned: {error}", record.id);
                continue;
            }
            let is_elsewhere = session.kernel != moved;
            (session.record, session.kernel) = (record, moved);
            written.push(session.record.id);
            if is_elsewhere {
                let subject = Subject { observed: leader.observed.clone(), ..session.record.subject.clone() };
                followed.push(Followed { session: session.record.id, subject });
            }
        }
        self.settle_grants(&written);
        followed
    }
}

/// What is known of it first: a pin that has moved is never forgotten by the next agent.
fn write(tables: &Tables, record: &Record, kernel: &Session) -> Result<(), OpenError> {
    let id = record.id.into();
    tables.set_details(id, &record.encode()?)?;
    tables.update_session(id, kernel)?;
    Ok(())
}

impl Live {
    /// Whether older sessions may follow it: a login by right, to where its person is by what it says itself.
    fn may_lead(&self) -> bool {
        let is_there = self.connection.is_some() || self.record.pinned_at.is_none();
        self.record.leads
            && !self.record.break_glass
            && self.cut.is_none()
            && is_there
            && !self.kernel.is_unpinned()
            && self.kernel.admits(self.record.peer.ip().into())
    }

    fn may_follow(&self) -> bool {
        self.record.on_new_address == OnNewAddress::Follow
            && self.connection.is_none()
            && self.cut.is_none()
            && !self.kernel.is_unpinned()
    }

    /// Whether a login came after the one that this session is pinned by.
    fn comes_before(&self, leader: &Leader) -> bool {
        let pinned_at = self.record.pinned_at.unwrap_or(self.record.opened_at);
        self.record.id != leader.id
            && (leader.is_new || leader.opened_at > pinned_at)
            && widest(&leader.kernel) >= widest(&self.kernel)
    }
}

/// How many bits the widest of its pins fixes: nobody follows to where more fits in.
fn widest(session: &Session) -> u32 {
    session.pins().iter().map(|pin| pin.bits()).min().unwrap_or_default()
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
