//! What an account's own systemd starts (`systemd-run --user`, lingering services): it belongs to no one session of the
//! account's, so it is held to where all of them are.

use super::adopt::Claimed;
use super::{Cgroups, Live, SessionId, State};
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
    kernel: Session,
}

/// What stands in `DETAILS` of an account's session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Details {
    /// The cgroup of its systemd.
    account: String,
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
    let Details { account } = serde_json::from_slice(details).ok()?;
    let cgroup = cgroups.and_then(|cgroups| cgroups.id(&account)).unwrap_or_default();
    Some((account, Account { id, cgroup, kernel }))
}

/// Where an account's own systemd may be reached from: where its pinned sessions may, or from anywhere if none is pinned, and no
/// longer than the last of them may. What is cut counts for nothing, unless all are.
fn combined(sessions: &[&Live]) -> Session {
    let kernel = || sessions.iter().map(|live| &live.kernel);
    let uncut: Vec<&Session> = kernel().filter(|it| it.state() == SessionState::Live).collect();
    let pinned: Vec<&Session> = uncut.iter().copied().filter(|it| !it.is_unpinned()).collect();
    // What is said of those that count: their pins, their end, how strictly they are judged.
    let counted = [pinned, uncut.clone(), kernel().collect()].into_iter().find(|some| !some.is_empty());
    let counted = counted.unwrap_or_default();
    let mut pins: Vec<Network> = counted.iter().flat_map(|it| it.pins()).copied().collect();
    pins.sort_by_key(|pin| (pin.address(), pin.prefix()));
    pins.dedup();
    let anywhere = counted.iter().all(|it| it.is_unpinned());
    let session = if anywhere { Session::unpinned() } else { Session::pinned(&pins) };
    let strictest = |mode: Mode, other: Mode| if mode.weaker(other) == mode { other } else { mode };
    let endpoints = counted.iter().map(|it| it.endpoints()).max();
    session
        .with_deadline(counted.iter().map(|it| it.deadline()).max().unwrap_or(NEVER))
        .with_mode(counted.iter().map(|it| it.mode()).reduce(strictest).unwrap_or(Mode::Enforce))
        .with_endpoints(endpoints.unwrap_or(HeldEndpoints::All))
        .with_state(if uncut.is_empty() { SessionState::Cut } else { SessionState::Live })
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
    kernel: &Session,
) -> Result<Option<SessionId>, Error> {
    let Some(cgroup) = cgroups.id(manager) else { return Ok(None) };
    if let Some(account) = accounts.get_mut(manager) {
        if account.kernel != *kernel {
            tables.update_session(account.id.into(), kernel)?;
            account.kernel = *kernel;
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
    let details = serde_json::to_vec(&Details { account: manager.to_owned() }).unwrap_or_default();
    tables.insert_session(id.into(), kernel, &details)?;
    tables.insert_cgroup(cgroup, id.into())?;
    accounts.insert(manager.to_owned(), Account { id, cgroup, kernel: *kernel });
    Ok(Some(id))
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
