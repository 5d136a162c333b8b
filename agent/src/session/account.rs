//! What an account's own systemd starts (`systemd-run --user`, lingering services): it belongs to no one session of the
//! account's, so it is held to where all of them are.

use super::adopt::Claimed;
use super::{Cgroups, Live, SessionId, State};
use crate::clock::Offset;
use crate::datapath::{Error, Tables};
use agent_ebpf::{HeldEndpoints, Mode, NEVER, Network, Session, SessionState};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// An account whose systemd runs, as the kernel knows it: a session of its own that nobody has logged in to.
#[derive(Debug)]
pub(super) struct Account {
    id: SessionId,
    /// The kernel's number of the cgroup of its systemd.
    cgroup: u64,
    terms: Terms,
}

/// How what an account's own systemd starts is held.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Terms {
    /// What the kernel judges by.
    kernel: Session,
    /// Until when it may be reached, Unix seconds; absent: for ever.
    ends_at: Option<u64>,
}

/// What stands in `DETAILS` of an account's session.
#[derive(Debug, Serialize, Deserialize)]
struct Details {
    /// The cgroup of its systemd.
    account: String,
    /// Until when what it starts may be reached, Unix seconds; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends_at: Option<u64>,
}

/// All accounts, by the cgroups of their systemds.
pub(super) type Accounts = HashMap<String, Account>;

/// The cgroup of the systemd of the account whose session's cgroup this is (systemd.special(7), `user@.service`).
fn manager(cgroup: &str) -> Option<String> {
    let (slice, _session) = cgroup.rsplit_once('/')?;
    let uid = slice.rsplit('/').next()?.strip_prefix("user-")?.strip_suffix(".slice")?;
    let is_number = !uid.is_empty() && uid.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| format!("{slice}/user@{uid}.service"))
}

/// The account whose session an earlier agent has left in the maps, if it is one of an account.
pub(super) fn restore(
    details: &[u8],
    id: SessionId,
    kernel: Session,
    cgroups: Option<&Cgroups>,
) -> Option<(String, Account)> {
    let Details { account, ends_at } = serde_json::from_slice(details).ok()?;
    let cgroup = cgroups.and_then(|cgroups| cgroups.id(&account)).unwrap_or_default();
    Some((account, Account { id, cgroup, terms: Terms { kernel, ends_at } }))
}

/// Where an account's own systemd may be reached from: where its pinned sessions may, or from anywhere if none is pinned, and no
/// longer than the last of them may. What is cut counts for nothing, unless all are.
fn combined(sessions: &[&Live]) -> Terms {
    let some = |is: fn(&Session) -> bool| {
        sessions.iter().copied().filter(|live| is(&live.kernel)).collect::<Vec<&Live>>()
    };
    let uncut = some(|it| it.state() == SessionState::Live);
    let pinned = some(|it| it.state() == SessionState::Live && !it.is_unpinned());
    let state = if uncut.is_empty() { SessionState::Cut } else { SessionState::Live };
    // What is said of those that count: their pins, their end, how strictly they are judged.
    let counted = [pinned, uncut].into_iter().find(|some| !some.is_empty());
    let counted = counted.unwrap_or_else(|| sessions.to_vec());
    let kernel = || counted.iter().map(|live| &live.kernel);
    let mut pins: Vec<Network> = kernel().flat_map(Session::pins).copied().collect();
    pins.sort_by_key(|pin| (pin.address(), pin.prefix()));
    pins.dedup();
    let session =
        if kernel().all(Session::is_unpinned) { Session::unpinned() } else { Session::pinned(&pins) };
    let strictest = |mode: Mode, other: Mode| if mode.weaker(other) == mode { other } else { mode };
    let kernel = session
        .with_deadline(kernel().map(Session::deadline).max().unwrap_or(NEVER))
        .with_mode(kernel().map(Session::mode).reduce(strictest).unwrap_or(Mode::Enforce))
        .with_endpoints(kernel().map(Session::endpoints).max().unwrap_or(HeldEndpoints::All))
        .with_state(state);
    let ends = counted.iter().map(|live| live.record.ends_at);
    Terms { kernel, ends_at: ends.max_by_key(|end| end.unwrap_or(u64::MAX)).flatten() }
}

impl State {
    /// Brings the accounts in line with their sessions. One without any stays as it was for as long as its systemd runs.
    pub(super) fn settle_accounts(&mut self, cgroups: &Cgroups) {
        let Self { tables, live, accounts, claimed, .. } = self;
        let mut sessions: HashMap<String, Vec<&Live>> = HashMap::new();
        for session in live.values() {
            if let Some(manager) = session.record.cgroup.as_deref().and_then(manager) {
                sessions.entry(manager).or_default().push(session);
            }
        }
        for (manager, sessions) in &sessions {
            match settle(tables, accounts, cgroups, manager, &combined(sessions)) {
                Ok(None) => {}
                Ok(Some(session)) => claimed.push(Claimed { cgroup: manager.clone(), session }),
                Err(error) => tracing::error!("what {manager} opens is not judged as it should be: {error}"),
            }
        }
        accounts.retain(|manager, account| {
            let stays = sessions.contains_key(manager) || cgroups.is_populated(manager);
            if !stays && let Err(error) = remove(tables, account) {
                tracing::error!("{manager} is gone but stays in the tables: {error}");
            }
            stays
        });
    }
}

/// The account's session if its systemd was not known before.
fn settle(
    tables: &Tables,
    accounts: &mut Accounts,
    cgroups: &Cgroups,
    manager: &str,
    terms: &Terms,
) -> Result<Option<SessionId>, Error> {
    let Some(cgroup) = cgroups.id(manager) else { return Ok(None) };
    let details = Details { account: manager.to_owned(), ends_at: terms.ends_at };
    let details = serde_json::to_vec(&details).unwrap_or_default();
    if let Some(account) = accounts.get_mut(manager) {
        if account.terms != *terms {
            tables.set_details(account.id.into(), &details)?;
            tables.update_session(account.id.into(), &terms.kernel)?;
            account.terms = *terms;
        }
        if account.cgroup != cgroup {
            tables.remove_cgroup(account.cgroup)?;
            tables.insert_cgroup(cgroup, account.id.into())?;
            account.cgroup = cgroup;
            return Ok(Some(account.id));
        }
        return Ok(None);
    }
    let Ok(id) = SessionId::random() else { return Ok(None) };
    tables.insert_session(id.into(), &terms.kernel, &details)?;
    tables.insert_cgroup(cgroup, id.into())?;
    accounts.insert(manager.to_owned(), Account { id, cgroup, terms: *terms });
    Ok(Some(id))
}

/// Writes the deadlines of all accounts as the clocks stand to each other now. Those without a session have no others.
pub(super) fn write_deadlines(tables: &Tables, accounts: &mut Accounts, clock: Offset) {
    for (manager, Account { id, terms, .. }) in
        accounts.iter_mut().filter(|(_, it)| it.terms.ends_at.is_some())
    {
        terms.kernel = terms.kernel.with_deadline(clock.deadline(terms.ends_at));
        if let Err(error) = tables.update_session((*id).into(), &terms.kernel) {
            tracing::error!("{manager}: its deadline could not be moved: {error}");
        }
    }
}

fn remove(tables: &Tables, account: &Account) -> Result<(), Error> {
    tables.remove_cgroup(account.cgroup)?;
    tables.remove_session(account.id.into())
}

/// Whether a session is an account's.
pub(super) fn owns(accounts: &Accounts, id: SessionId) -> bool {
    accounts.values().any(|account| account.id == id)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sessions_of_logind_have_an_account_and_others_have_none() {
        let manager = |cgroup| super::manager(cgroup);
        let expected = "/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(manager("/user.slice/user-1000.slice/session-3.scope").as_deref(), Some(expected));
        assert_eq!(manager("/user.slice/cotter-0123456789abcdef.scope"), None);
        assert_eq!(manager("/user.slice/user-.slice/session-3.scope"), None);
        assert_eq!(manager("/user.slice/user-mallory.slice/session-3.scope"), None);
    }
}
