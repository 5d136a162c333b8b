//! What is a session's own on the node: its cgroup, and through it the sockets that its processes make.

use super::account::{self, Accounts};
use super::adopt::Claimed;
use super::{Cgroups, Live, Record, SessionId, Sessions, State};
use crate::datapath::{Error, Tables};
use std::collections::HashMap;

impl Sessions {
    /// The cgroup of a session that opens: that which logind has made for it, or one that is made here.
    pub(super) fn cgroup_for(&self, id: SessionId, monitor: u32) -> Option<String> {
        let cgroups = self.cgroups.as_ref()?;
        let found = cgroups.of_session(monitor).or_else(|| {
            let made = cgroups.make(&self.slice, id, monitor);
            made.inspect_err(|error| tracing::warn!("session {id} has no cgroup of its own: {error}")).ok()
        });
        if let Some(cgroup) = &found
            && !Cgroups::is_below(cgroup, &self.slice)
        {
            let slice = &self.slice;
            tracing::warn!(
                "session {id}: what it opens is not judged: {cgroup} is not below {slice} (sessions_cgroup)"
            );
        }
        found
    }

    /// A login has come to nothing: the cgroup that was made for it goes once its processes have.
    pub(super) fn forsake(&self, record: &Record) {
        let made = record.cgroup.clone().filter(|cgroup| Cgroups::is_made_for(cgroup, record.id));
        self.state().forsaken.extend(made);
    }

    /// Removes the cgroups of logins that came to nothing, as far as nobody is in them any more.
    pub(super) fn remove_forsaken(&self) {
        let Some(cgroups) = &self.cgroups else { return };
        let forsaken = std::mem::take(&mut self.state().forsaken);
        let populated = forsaken.into_iter().filter(|cgroup| !cgroups.remove_own(cgroup));
        let populated: Vec<String> = populated.collect();
        self.state().forsaken.extend(populated);
    }

    /// Brings the accounts in line with their sessions.
    pub(super) fn settle_accounts(&self, state: &mut State) {
        if let Some(cgroups) = &self.cgroups {
            state.settle_accounts(cgroups);
        }
    }
}

/// Tells the kernel programs whose cgroup a session's is; its number, if it has one.
pub(super) fn claim(
    tables: &Tables,
    cgroups: Option<&Cgroups>,
    record: &Record,
) -> Result<Option<u64>, Error> {
    let number = || cgroups?.id(record.cgroup.as_deref()?);
    let Some(id) = number() else { return Ok(None) };
    tables.insert_cgroup(id, record.id.into()).map(|()| Some(id))
}

/// A session is over: what is made in its cgroup from now on is nobody's.
pub(super) fn release(tables: &Tables, live: &Live) {
    if let Some(cgroup) = live.cgroup
        && let Err(error) = tables.remove_cgroup(cgroup)
    {
        tracing::error!("session {}: its cgroup stays in the tables: {error}", live.record.id);
    }
}

/// Brings what the kernel programs know of cgroups in line with the sessions that there are; those that they knew nothing of.
pub(super) fn settle(
    tables: &Tables,
    cgroups: &Cgroups,
    live: &mut HashMap<SessionId, Live>,
    accounts: &Accounts,
) -> Vec<Claimed> {
    let known: HashMap<u64, _> = tables.cgroups().unwrap_or_default().into_iter().collect();
    let mut claimed = Vec::new();
    for session in live.values_mut() {
        let id = session.record.id;
        session.cgroup = claim(tables, Some(cgroups), &session.record).unwrap_or_else(|error| {
            tracing::error!("session {id}: what it opens itself is not judged: {error}");
            None
        });
        let is_new = |id: &u64| !known.contains_key(id);
        if let (Some(_), Some(cgroup)) = (session.cgroup.filter(is_new), &session.record.cgroup) {
            claimed.push(Claimed { cgroup: cgroup.clone(), session: session.record.id });
        }
    }
    let known = known.into_iter();
    let is_known = |session: SessionId| live.contains_key(&session) || account::owns(accounts, session);
    for (cgroup, _) in known.filter(|(_, session)| !is_known((*session).into())) {
        if let Err(error) = tables.remove_cgroup(cgroup) {
            tracing::error!("a cgroup of no session stays in the tables: {error}");
        }
    }
    claimed
}
