//! The terminals of a session's processes, and one line to each of them.

use super::{Cgroups, Record};
use rustix::fs::{Mode, OFlags, fstat, major, makedev, minor, open};
use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

/// Most processes of one session that are looked at, and most of its terminals that are written to.
const MOST_PROCESSES: usize = 1024;
const MOST_TERMINALS: usize = 16;
/// The major number of `/dev/pts/*`; the minor one is its name (`UNIX98_PTY_SLAVE_MAJOR`).
const PTS: u32 = 136;

/// Writes a line to each of a session's terminals, until the deadline; the number of those that took it.
///
/// It never waits: a terminal that takes nothing, because its user stopped it (Ctrl-S) or wants no messages (mesg(1)),
/// gets none.
pub(super) fn tell(session: &Record, cgroups: Option<&Cgroups>, line: &str, deadline: Instant) -> usize {
    let numbers = terminals(session, cgroups, deadline);
    numbers.into_iter().filter(|number| write(*number, line).is_some()).count()
}

/// The numbers of the session's terminals below `/dev/pts`.
fn terminals(session: &Record, cgroups: Option<&Cgroups>, deadline: Instant) -> BTreeSet<u32> {
    let of_cgroup = cgroups.zip(session.cgroup.as_deref()).map(|(cgroups, cgroup)| cgroups.processes(cgroup));
    // Without a cgroup of its own: what the session's sshd has started, and what that has, as long as its parents live.
    let mut left = of_cgroup.unwrap_or_else(|| vec![session.monitor]);
    let follow = session.cgroup.is_none() || cgroups.is_none();
    let mut found = BTreeSet::new();
    for _ in 0..MOST_PROCESSES {
        let Some(pid) = left.pop() else { break };
        if found.len() == MOST_TERMINALS || Instant::now() >= deadline {
            break;
        }
        found.extend(terminal_of(pid));
        if follow {
            left.extend(children(pid));
        }
    }
    found
}

/// The number below `/dev/pts` of a process's controlling terminal (`tty_nr`, field 7 of `/proc/PID/stat`).
fn terminal_of(pid: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, also `)` and blanks.
    let behind_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(&stat[behind_name..]).ok()?;
    let device: u64 = fields.split_ascii_whitespace().nth(4)?.parse().ok()?;
    (major(device) == PTS).then(|| minor(device))
}

/// A process's children (`CONFIG_PROC_CHILDREN`).
fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Terminals are their users', who may write to them by their group (tty) unless told otherwise.
fn write(number: u32, line: &str) -> Option<()> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let terminal = open(format!("/dev/pts/{number}"), flags, Mode::empty()).ok()?;
    let is_meant = fstat(&terminal).ok()?.st_rdev == makedev(PTS, number);
    (is_meant && rustix::io::write(&terminal, line.as_bytes()).ok()? > 0).then_some(())
}
