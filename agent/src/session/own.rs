//! What is a session's own on the node: its cgroup, and through it the sockets that its processes make.

use super::{Cgroups, Live, Record, SessionId, Sessions};
use crate::datapath::Tables;
use std::collections::HashMap;

impl Sessions {
    /// The cgroup of a session that opens: that which logind has made for it, or one that is made here.
    pub(super) fn cgroup_for(&self, id: SessionId, monitor: u32) -> Option<String> {
        let cgroups = self.cgroups.as_ref()?;
        cgroups.of_session(monitor).or_else(|| {
            let made = cgroups.make(&self.slice, id, monitor);
            made.inspect_err(|error| tracing::warn!("session {id} has no cgroup of its own: {error}")).ok()
        })
    }
}

/// Tells the kernel programs whose cgroup a session's is; its number.
pub(super) fn claim(tables: &Tables, cgroups: Option<&Cgroups>, record: &Record) -> Option<u64> {
    let id = cgroups?.id(record.cgroup.as_deref()?)?;
    match tables.insert_cgroup(id, record.id.into()) {
        Ok(()) => Some(id),
        Err(error) => {
            tracing::error!("session {}: what it opens itself is not judged: {error}", record.id);
            None
        }
    }
}

/// A session is over: what is made in its cgroup from now on is nobody's.
pub(super) fn release(tables: &Tables, live: &Live) {
    if let Some(cgroup) = live.cgroup
        && let Err(error) = tables.remove_cgroup(cgroup)
    {
        tracing::error!("session {}: its cgroup stays in the tables: {error}", live.record.id);
    }
}

/// Brings what the kernel programs know of cgroups in line with the sessions that there are.
pub(super) fn settle(tables: &Tables, cgroups: &Cgroups, live: &mut HashMap<SessionId, Live>) {
    for session in live.values_mut() {
        session.cgroup = claim(tables, Some(cgroups), &session.record);
    }
    let known = tables.cgroups().unwrap_or_default().into_iter();
    for (cgroup, _) in known.filter(|(_, session)| !live.contains_key(&SessionId::from(*session))) {
        if let Err(error) = tables.remove_cgroup(cgroup) {
            tracing::error!("a cgroup of no session stays in the tables: {error}");
        }
    }
}
