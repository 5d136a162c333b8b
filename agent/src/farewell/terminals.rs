//! The terminals of a session's processes, and one line to each of them.

use super::owner::owner;
use super::{Farewell, line};
use crate::session::Cgroups;
use rustix::fs::{Mode, OFlags, fstat, major, makedev, minor, open};
use std::collections::{BTreeSet, VecDeque};
use std::fs;

/// Most processes of one session that are looked at, and most of its terminals that are written to.
const MOST_PROCESSES: usize = 1024;
const MOST_TERMINALS: usize = 16;
/// The major number of `/dev/pts/*`; the minor one is its name (`UNIX98_PTY_SLAVE_MAJOR`).
const PTS: u32 = 136;

/// Writes a line to each of a session's terminals; the number of those that took it. Terminals that are full, stopped
/// (Ctrl-S) or want no messages (mesg(1)) get none.
pub(super) fn tell(session: &Farewell, cgroups: Option<&Cgroups>) -> usize {
    let Some(owner) = owner(session) else { return 0 };
    let line = line(session.cause);
    let numbers = terminals(session, cgroups);
    numbers.into_iter().filter(|number| write(*number, owner, &line).is_some()).count()
}

/// The numbers of the session's terminals below `/dev/pts`.
fn terminals(session: &Farewell, cgroups: Option<&Cgroups>) -> BTreeSet<u32> {
    let of_cgroup = cgroups.zip(session.cgroup.as_deref()).map(|(cgroups, cgroup)| cgroups.processes(cgroup));
    // Without a cgroup of its own: what the session's sshd has started, and what that has, as long as its parents live.
    let follow = of_cgroup.is_none();
    let mut left = VecDeque::from(of_cgroup.unwrap_or_else(|| vec![session.monitor]));
    let mut found = BTreeSet::new();
    for _ in 0..MOST_PROCESSES {
        let Some(pid) = left.pop_front().filter(|_| found.len() < MOST_TERMINALS) else { break };
        found.extend(terminal_of(pid));
        if follow {
            left.extend(children(pid));
        }
    }
    found
}

/// The number below `/dev/pts` of a process's controlling terminal (`tty_nr`, field 7 of `/proc/PID/stat`). It may be
/// that of another instance of devpts, of the user's own.
fn terminal_of(pid: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, also `)` and blanks.
    let behind_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(&stat[behind_name..]).ok()?;
    let device: u64 = fields.split_ascii_whitespace().nth(4)?.parse().ok()?;
    (major(device) == PTS).then(|| minor(device))
}

/// A process's children (`CONFIG_PROC_CHILDREN`).
pub(super) fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Writes only to a terminal of the owner's that lets its group (tty) write, whatever else this process may.
fn write(number: u32, owner: u32, line: &str) -> Option<()> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let terminal = open(format!("/dev/pts/{number}"), flags, Mode::empty()).ok()?;
    let found = fstat(&terminal).ok()?;
    let is_meant = found.st_rdev == makedev(PTS, number) && found.st_uid == owner;
    let takes_messages = Mode::from_raw_mode(found.st_mode).contains(Mode::WGRP);
    (is_meant && takes_messages && rustix::io::write(&terminal, line.as_bytes()).ok()? > 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{chmod, fcntl_setfl};
    use rustix::process::getuid;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::os::fd::OwnedFd;

    struct Terminal {
        /// What a terminal emulator holds.
        master: OwnedFd,
        number: u32,
    }

    impl Terminal {
        fn new(mode: Mode) -> Self {
            let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            fcntl_setfl(&master, OFlags::NONBLOCK).unwrap();
            grantpt(&master).unwrap();
            unlockpt(&master).unwrap();
            let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
            chmod(&name, mode).unwrap();
            Self { master, number: name.rsplit('/').next().unwrap().parse().unwrap() }
        }

        fn shows(&self) -> String {
            let mut shown = [0; 64];
            let count = rustix::io::read(&self.master, &mut shown).unwrap_or(0);
            String::from_utf8_lossy(&shown[..count]).into_owned()
        }
    }

    #[test]
    fn a_terminal_of_the_owners_is_written_to() {
        let terminal = Terminal::new(Mode::from_raw_mode(0o620));
        assert!(write(terminal.number, getuid().as_raw(), "words").is_some());
        assert_eq!(terminal.shows(), "words");
    }

    #[test]
    fn a_terminal_of_somebody_else_is_not() {
        let terminal = Terminal::new(Mode::from_raw_mode(0o620));
        assert!(write(terminal.number, getuid().as_raw() + 1, "words").is_none());
        assert_eq!(terminal.shows(), "");
    }

    #[test]
    fn nor_is_one_that_wants_no_messages_even_by_root() {
        let terminal = Terminal::new(Mode::from_raw_mode(0o600));
        assert!(write(terminal.number, getuid().as_raw(), "words").is_none());
        assert_eq!(terminal.shows(), "");
    }
}
