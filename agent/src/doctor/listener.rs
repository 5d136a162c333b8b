//! The sockets on which sshd listens, taken from its processes; and whether multipath TCP comes in by them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cotter_hook::process::{Pid, Process, shares_network};
use rustix::net::{getsockname, ipproto, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{Finding, Node};

/// A listening TCP socket of an sshd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// Whether it takes multipath TCP.
    multipath: bool,
}

/// All of this network namespace. `executables` are what counts as sshd.
pub(super) fn all(executables: &[PathBuf]) -> io::Result<Vec<Listener>> {
    let numbers =
        fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut listeners = Vec::new();
    for pid in numbers.filter_map(Pid::from_raw).filter(|pid| is_daemon(*pid, executables)) {
        // One that has ended meanwhile listens no more.
        listeners.extend(of_process(pid).unwrap_or_default());
    }
    Ok(listeners)
}

/// Whether a process is an sshd that waits for connections. Those that serve one may listen for what their users have
/// forwarded; they are children of sshd.
fn is_daemon(pid: Pid, executables: &[PathBuf]) -> bool {
    let is_sshd = |pid: Pid| runs(pid).is_some_and(|program| executables.contains(&program));
    let parent = || Process::look_up(pid).ok().and_then(|process| process.parent);
    is_sshd(pid) && !parent().is_some_and(is_sshd) && shares_network(pid).unwrap_or(false)
}

/// What a process runs, also if that was replaced since.
fn runs(pid: Pid) -> Option<PathBuf> {
    let link = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = link.to_str()?;
    Some(Path::new(name.strip_suffix(" (deleted)").unwrap_or(name)).to_owned())
}

fn of_process(pid: Pid) -> io::Result<Vec<Listener>> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut listeners = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let is_socket =
            fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"));
        let Some(number) =
            entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_socket)
        else {
            continue;
        };
        let socket = pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?;
        if !sockopt::socket_acceptconn(&socket).unwrap_or(false) {
            continue;
        }
        let Ok(address) = SocketAddr::try_from(getsockname(&socket)?) else { continue };
        let multipath = sockopt::socket_protocol(&socket)? == Some(ipproto::MPTCP);
        listeners.push(Listener { address, multipath });
    }
    Ok(listeners)
}

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    const ID: &str = "mptcp";
    let Some(listeners) = &node.listeners else { return Vec::new() };
    let found: Vec<Finding> = listeners
        .iter()
        .filter(|listener| listener.multipath)
        .map(|listener| {
            let what = format!(
                "sshd takes multipath TCP at {}: such a connection may go on from other addresses, and is no session",
                listener.address
            );
            Finding::warning(ID, what, "start sshd without mptcpize, or set net.mptcp.enabled = 0")
        })
        .collect();
    if found.is_empty() { vec![Finding::ok(ID, "sshd takes no multipath TCP")] } else { found }
}
