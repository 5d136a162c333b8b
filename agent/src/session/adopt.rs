//! Sockets that were there before anybody knew whose they are: of an account's systemd at its first login, of sessions whose
//! last agent knew nothing of sockets.

use super::{Cgroups, SessionId, Sessions};
use crate::datapath::{Tables, causes};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

/// A cgroup that has just become a session's.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) cgroup: String,
    pub(super) session: SessionId,
}

/// Most descriptors that are looked at in a process. To list them takes a right that the agent does not have.
const MOST: i32 = 1 << 16;

impl Sessions {
    /// Looks through the processes of cgroups that have become sessions'. Nobody waits for it: closing the last copy of a
    /// socket may take as long as its owner has asked for (`SO_LINGER`).
    pub(super) fn adopt_sockets(&self) {
        let (tables, claimed) = {
            let mut state = self.state();
            (Arc::clone(&state.tables), std::mem::take(&mut state.claimed))
        };
        let (Some(cgroups), false) = (self.cgroups.clone(), claimed.is_empty()) else { return };
        let looking = thread::Builder::new().name("adopt".to_owned()).spawn(move || {
            for Claimed { cgroup, session } in claimed {
                adopt(&tables, &cgroups, &cgroup, session);
            }
        });
        if let Err(error) = looking {
            tracing::error!("sockets that were open before are not judged: {error}");
        }
    }
}

/// What came of a process's descriptors.
#[derive(Default)]
struct Adopted {
    /// Sockets that are endpoints now and were not before.
    sockets: usize,
    /// Descriptors that could not be looked at, or whose sockets could not be made the session's.
    failed: usize,
    /// Why the first of those could not.
    why: Option<io::Error>,
}

/// Makes the sockets of a cgroup's processes a session's.
fn adopt(tables: &Tables, cgroups: &Cgroups, cgroup: &str, session: SessionId) {
    let mut adopted = 0;
    for pid in cgroups.all_processes(cgroup) {
        match adopt_from(tables, pid, session) {
            Ok(Adopted { sockets, failed, why }) => {
                adopted += sockets;
                if let Some(why) = why {
                    tracing::warn!(
                        "session {session}: {failed} descriptors of process {pid} in {cgroup} are not judged: {why}"
                    );
                }
            }
            // It has ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(
                    "session {session}: sockets of process {pid} in {cgroup} are not judged: {error}"
                );
            }
        }
    }
    if adopted > 0 {
        tracing::info!("session {session}: {adopted} sockets of {cgroup} were open already");
    }
}

/// Makes a process's sockets a session's, as far as that can be done: what becomes of one keeps no other from it.
fn adopt_from(tables: &Tables, pid: u32, session: SessionId) -> io::Result<Adopted> {
    let ended = || io::Error::from(io::ErrorKind::NotFound);
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(ended)?;
    let process = match pidfd_open(process, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Err(ended()),
        opened => opened?,
    };
    let mut adopted = Adopted::default();
    for number in 0..descriptors(pid)?.min(MOST) {
        match adopt_one(tables, &process, number, session) {
            Ok(is_new) => adopted.sockets += usize::from(is_new),
            Err(error) => {
                adopted.failed += 1;
                adopted.why.get_or_insert(error);
            }
        }
    }
    Ok(adopted)
}

/// Whether a process's descriptor is an endpoint now and was not before. A copy is held meanwhile.
fn adopt_one(tables: &Tables, process: &OwnedFd, number: i32, session: SessionId) -> io::Result<bool> {
    let socket = match pidfd_getfd(process, number, PidfdGetfdFlags::empty()) {
        // Not open, or the process has ended.
        Err(Errno::BADF | Errno::SRCH) => return Ok(false),
        held => held?,
    };
    if FileType::from_raw_mode(fstat(&socket)?.st_mode) != FileType::Socket {
        return Ok(false);
    }
    tables.adopt(&socket, session.into()).map_err(|error| io::Error::other(causes(&error)))
}

/// How many slots for descriptors a process has (proc(5), `FDSize`).
fn descriptors(pid: u32) -> io::Result<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
    Ok(size.and_then(|size| size.trim().parse().ok()).unwrap_or(MOST))
}
