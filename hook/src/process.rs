//! What `/proc` tells of a process, read so that a reused pid cannot pass for the process it was.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

pub use rustix::process::Pid;

/// A failed look at a process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A file of `/proc/PID` cannot be read: usually the process is gone.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of `/proc/PID` is not in the form that proc(5) describes.
    #[error("cannot understand {path}")]
    Format {
        /// The file.
        path: PathBuf,
    },
}

/// A process, told apart from later ones with the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: Pid,
    /// Its parent's; `None` for the first process of a pid namespace.
    pub parent: Option<Pid>,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub started: u64,
}

impl Process {
    /// Looks `pid` up now.
    pub fn look_up(pid: Pid) -> Result<Self, ProcessError> {
        let path = proc_path(pid, "stat");
        let stat = fs::read(&path).map_err(|source| ProcessError::Read { path: path.clone(), source })?;
        let (parent, started) = parse_stat(&stat).ok_or(ProcessError::Format { path })?;
        Ok(Self { pid, parent, started })
    }

    /// Whether this very process still runs under the same parent.
    pub fn is_unchanged(&self) -> bool {
        Self::look_up(self.pid).is_ok_and(|now| now == *self)
    }
}

/// Parent and start time. The name in parentheses may hold anything, also `)` and blanks.
fn parse_stat(stat: &[u8]) -> Option<(Option<Pid>, u64)> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let after_name = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    // The first field after the name is number 3 of proc(5), the state.
    let mut fields = after_name.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((Pid::from_raw(parent), started))
}

/// Whether `pid` lives in the network namespace of the caller, so that addresses and cookies mean the same.
pub fn shares_network(pid: Pid) -> Result<bool, ProcessError> {
    let namespace = |path: PathBuf| match fs::metadata(&path) {
        Ok(metadata) => Ok((metadata.dev(), metadata.ino())),
        Err(source) => Err(ProcessError::Read { path, source }),
    };
    Ok(namespace(proc_path(pid, "ns/net"))? == namespace(PathBuf::from("/proc/self/ns/net"))?)
}

pub(crate) fn proc_path(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_cannot_forge_its_parent() {
        let stat = b"7 (a) S 1 (b) ) S 42 7 7 0 -1 4194560 1 0 0 0 5 3 0 0 20 0 1 0 123456 9 9 9\n";
        assert_eq!(parse_stat(stat), Some((Pid::from_raw(42), 123_456)));
    }

    #[test]
    fn what_is_no_stat_line_is_refused() {
        for stat in [&b""[..], b"7 (x", b"7 (x) S", b"7 (x) S x", b"7 (x) S 1 2 3", b"7 (\xff) S \xff"] {
            assert_eq!(parse_stat(stat), None, "{stat:?}");
        }
    }

    #[test]
    fn this_process_is_found_unchanged_and_in_its_own_network() {
        let me = Process::look_up(rustix::process::getpid()).unwrap();
        assert_eq!(me.parent, rustix::process::getppid());
        assert!(me.is_unchanged());
        assert!(shares_network(me.pid).unwrap());
        assert!(!Process { started: me.started - 1, ..me }.is_unchanged());
    }
}
