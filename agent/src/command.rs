//! Other programs, found and told the same whoever calls, and run to their end within a time limit.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

/// Where programs are looked for. Not in /usr/local: what decides what the node is told to be comes by packages.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// How long what was killed may take to be gone: what waits for a disk that does not answer is not.
const DYING: Duration = Duration::from_secs(2);

/// A program by its name or whole path, with nothing of the caller's environment: what `sudo` leaves of that may be a
/// user's.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command
}

/// Runs a command without input; what it printed, or that it took longer and was killed with all that it began.
///
/// # Errors
/// It could not be run, or took longer ([`io::ErrorKind::TimedOut`]).
pub(crate) fn output(command: &mut Command, limit: Duration) -> io::Result<Output> {
    // Files, not pipes: nobody has to read along, and what it leaves running cannot keep us waiting for their end.
    let (stdout, stderr) = (memory("stdout")?, memory("stderr")?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).process_group(0);
    let status = wait(&mut command.spawn()?, limit)?;
    Ok(Output { status, stdout: content(stdout)?, stderr: content(stderr)? })
}

/// What it printed, if it succeeded; else what it complained of.
///
/// # Errors
/// As [`output`], and that it failed.
pub(crate) fn text(command: &mut Command, limit: Duration) -> io::Result<String> {
    let output = output(command, limit)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(if complaint.is_empty() { output.status.to_string() } else { complaint }))
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    let group = Pid::from_child(child);
    let process = pidfd_open(group, PidfdFlags::empty())?;
    if ends(&process, limit)? {
        return child.wait();
    }
    // By now it may have left the group, or the group may be gone.
    let _signalled = (kill_process_group(group, Signal::KILL), pidfd_send_signal(&process, Signal::KILL));
    let mut why = format!("has not ended within {} s", limit.as_secs());
    if ends(&process, DYING)? {
        child.wait()?;
    } else {
        why.push_str(", nor when it was killed");
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, why))
}

fn ends(process: &OwnedFd, limit: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(limit).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience))? > 0)
}

fn memory(name: &str) -> io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC)?.into())
}

fn content(mut file: File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = program("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn what_it_printed_or_complained_of_comes_back() {
        let limit = Duration::from_secs(60);
        assert_eq!(text(&mut shell("echo said; echo also >&2"), limit).unwrap(), "said\n");
        assert_eq!(text(&mut shell("echo why >&2; exit 3"), limit).unwrap_err().to_string(), "why");
        assert!(text(&mut program("/nowhere/at-all"), limit).is_err());
    }

    #[test]
    fn programs_know_nothing_of_the_caller() {
        let environment = text(&mut program("env"), Duration::from_secs(60)).unwrap();
        assert_eq!(environment, format!("LC_ALL=C\nPATH={PATH}\n"));
    }

    #[test]
    fn what_takes_too_long_is_ended_with_all_that_it_began() {
        let begin = Instant::now();
        let error = output(&mut shell("sleep 1000 & sleep 1000"), Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // What it leaves behind after a timely end is none of our business, and keeps nobody waiting.
        output(&mut shell("sleep 30 &"), Duration::from_secs(60)).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(25));
    }
}
