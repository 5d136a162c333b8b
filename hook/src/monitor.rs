//! Who asked: the sshd monitor whose direct child a hook is.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::connection::{Connection, ConnectionError};
use crate::process::{Pid, Process, ProcessError, proc_path};

/// Where distributions keep the program that runs as sshd's monitor: `sshd` up to OpenSSH 9.7, `sshd-session`
/// from 9.8. `sshd-auth` (from 10.0) runs no hooks.
pub const EXECUTABLES: [&str; 4] = [
    "/usr/sbin/sshd",
    "/usr/lib/openssh/sshd-session",
    "/usr/libexec/openssh/sshd-session",
    "/usr/lib/ssh/sshd-session",
];

/// Why a caller is not taken for a hook.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// Something in `/proc` could not be read.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The caller's parent is outside this pid namespace, or gone.
    #[error("process {pid} has no parent")]
    Orphan {
        /// The caller.
        pid: Pid,
    },
    /// The parent runs another program.
    #[error("parent process {pid} runs {executable:?}, which is no sshd")]
    NotSshd {
        /// The parent.
        pid: Pid,
        /// What it runs.
        executable: PathBuf,
    },
    /// The parent's program could have been replaced by someone who is not root.
    #[error("{executable:?} does not belong to root alone")]
    Untrusted {
        /// The program.
        executable: PathBuf,
    },
    /// The parent does not have root's real and saved uid.
    #[error("parent process {pid} is not root's")]
    NotRoot {
        /// The parent.
        pid: Pid,
    },
    /// Caller or parent ended, or the caller got another parent, while being looked at.
    #[error("process {pid} changed while it was looked at")]
    Changed {
        /// The caller.
        pid: Pid,
    },
}

/// A process that was, when looked at, a real sshd monitor with the caller as its direct child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// The monitor process.
    pub process: Process,
    /// The program that it runs, as named in the list of executables.
    pub executable: PathBuf,
}

impl Monitor {
    /// The monitor that started process `caller`, accepting the programs in `executables` (absolute paths).
    ///
    /// Only real and saved uid are asked for: while sshd reads a hook's output its effective uid is that of
    /// AuthorizedPrincipalsCommandUser. The login itself runs in a child of the monitor that has given up root.
    pub fn of_caller(caller: Pid, executables: &[impl AsRef<Path>]) -> Result<Self, MonitorError> {
        let hook = Process::look_up(caller)?;
        let pid = hook.parent.ok_or(MonitorError::Orphan { pid: caller })?;
        let process = Process::look_up(pid)?;
        let executable = trusted_executable(pid, executables)?;
        if !is_root(pid)? {
            return Err(MonitorError::NotRoot { pid });
        }
        if hook.is_unchanged() && process.is_unchanged() {
            Ok(Self { process, executable })
        } else {
            Err(MonitorError::Changed { pid: caller })
        }
    }

    /// The connection that the monitor serves; see [`Connection::of_process`].
    pub fn connection(&self, local_ports: &[u16]) -> Result<Connection, ConnectionError> {
        let connection = Connection::of_process(self.process.pid, local_ports)?;
        if self.process.is_unchanged() {
            Ok(connection)
        } else {
            Err(ConnectionError::ProcessGone { pid: self.process.pid })
        }
    }
}

/// The program of `pid`, if it is on the list and root's.
fn trusted_executable(pid: Pid, executables: &[impl AsRef<Path>]) -> Result<PathBuf, MonitorError> {
    let exe = proc_path(pid, "exe");
    let read_error = |source| ProcessError::Read { path: exe.clone(), source };
    let link = fs::read_link(&exe).map_err(read_error)?;
    // After an upgrade of sshd, monitors of older connections run a file that has no name any more.
    let name = link.as_os_str().as_bytes();
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    let known = executables.iter().map(AsRef::as_ref).find(|path| path.as_os_str().as_bytes() == name);
    let Some(executable) = known.map(Path::to_path_buf) else {
        return Err(MonitorError::NotSshd { pid, executable: link });
    };
    // Through /proc this is the file that runs, whatever its name points to by now.
    let file = fs::metadata(&exe).map_err(read_error)?;
    if file.uid() == 0 && file.mode() & 0o022 == 0 {
        Ok(executable)
    } else {
        Err(MonitorError::Untrusted { executable })
    }
}

fn is_root(pid: Pid) -> Result<bool, ProcessError> {
    let path = proc_path(pid, "status");
    let status = fs::read(&path).map_err(|source| ProcessError::Read { path: path.clone(), source })?;
    real_and_saved_uid(&status).map(|uids| uids == (0, 0)).ok_or(ProcessError::Format { path })
}

/// From the line `Uid: real effective saved filesystem`.
fn real_and_saved_uid(status: &[u8]) -> Option<(u32, u32)> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    let mut uids = std::str::from_utf8(line).ok()?.split_ascii_whitespace().map(str::parse);
    let real = uids.next()?.ok()?;
    let _effective = uids.next()?.ok()?;
    let saved = uids.next()?.ok()?;
    Some((real, saved))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// A shell that is a child of this test process, so that the test process is its "monitor".
    struct Child(std::process::Child);

    impl Child {
        fn start() -> Self {
            Self(Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
        }

        fn pid(&self) -> Pid {
            Pid::from_child(&self.0)
        }
    }

    impl Drop for Child {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn the_direct_parent_is_the_monitor_if_its_program_is_listed_and_roots() {
        let child = Child::start();
        let this_program = std::env::current_exe().unwrap();
        let monitor = Monitor::of_caller(child.pid(), &[&this_program]).unwrap();
        assert_eq!(monitor.process.pid, rustix::process::getpid());
        assert_eq!(monitor.executable, this_program);
    }

    #[test]
    fn a_parent_with_another_program_is_no_monitor() {
        let child = Child::start();
        let refused = Monitor::of_caller(child.pid(), &EXECUTABLES);
        assert!(matches!(refused, Err(MonitorError::NotSshd { .. })), "{refused:?}");
    }

    #[test]
    fn only_real_and_saved_uid_count() {
        assert_eq!(real_and_saved_uid(b"Name:\tsshd\nUid:\t0\t65534\t0\t65534\nGid:\t1\n"), Some((0, 0)));
        assert_eq!(real_and_saved_uid(b"Uid:\t1000\t0\t0\t0\n"), Some((1000, 0)));
        assert_eq!(real_and_saved_uid(b"Uid:\t0\t0\n"), None);
        assert_eq!(real_and_saved_uid(b"Name:\tx\n"), None);
    }
}
