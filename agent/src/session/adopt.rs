//! Sockets that were there before anybody knew whose they are: of an account's systemd at its first login, of sessions whose
//! last agent knew nothing of sockets.

use super::{Cgroups, SessionId, Sessions};
use crate::datapath::Tables;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A cgroup that has just become a session's.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) cgroup: String,
    pub(super) session: SessionId,
}

impl Sessions {
    /// Looks through the processes of cgroups that have become sessions'. Logins do not wait for it.
    pub(super) fn adopt_sockets(&self) {
        let (tables, claimed) = {
            let mut state = self.state();
            (Arc::clone(&state.tables), std::mem::take(&mut state.claimed))
        };
        let Some(cgroups) = &self.cgroups else { return };
        for Claimed { cgroup, session } in claimed {
            let adopted = adopt(&tables, cgroups, &cgroup, session);
            if adopted > 0 {
                tracing::info!("session {session}: {adopted} sockets of {cgroup} were open already");
            }
        }
    }
}

/// How many of the sockets of a cgroup's processes are endpoints now and were not before.
fn adopt(tables: &Tables, cgroups: &Cgroups, cgroup: &str, session: SessionId) -> usize {
    let processes = cgroups.all_processes(cgroup).into_iter();
    let sockets = processes.flat_map(sockets_of);
    let adopted = sockets.filter(|socket| match tables.adopt(socket, session.into()) {
        Ok(adopted) => adopted,
        Err(error) => {
            tracing::warn!("session {session}: a socket of {cgroup} is not known as its own: {error}");
            false
        }
    });
    adopted.count()
}

/// The sockets that a process holds. Processes end, and close what they hold, at any time.
fn sockets_of(pid: u32) -> Vec<OwnedFd> {
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Vec::new() };
    let Ok(process) = pidfd_open(process, PidfdFlags::empty()) else { return Vec::new() };
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let is_socket = |entry: &fs::DirEntry| {
        fs::read_link(entry.path())
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
    };
    let numbers = open.filter(is_socket).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()).collect()
}
