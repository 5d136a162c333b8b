//! Other programs, run to their end within a time limit.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

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
    let patience = Timespec::try_from(limit).map_err(io::Error::other)?;
    if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience))? == 0 {
        kill_process_group(group, Signal::KILL)?;
        child.wait()?;
        let why = format!("has not ended within {} s", limit.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    child.wait()
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
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn what_it_printed_or_complained_of_comes_back() {
        let limit = Duration::from_secs(60);
        assert_eq!(text(&mut shell("echo said; echo also >&2"), limit).unwrap(), "said\n");
        assert_eq!(text(&mut shell("echo why >&2; exit 3"), limit).unwrap_err().to_string(), "why");
        assert!(text(&mut Command::new("/nowhere/at-all"), limit).is_err());
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
