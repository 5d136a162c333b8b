//! Ending a refused connection a moment after the refusal, by a process of its own.
//!
//! sshd shows the user PAM's text only once the client has asked for a shell or a command, a few round trips
//! after `open_session` failed. Destroying the socket at once would lose it. In the meantime the connection can
//! do nothing: without a PAM session sshd refuses shells, commands, subsystems and forwardings. Only a client
//! that asks for none of these (`ssh -N`) is still there at the end of [`GRACE`], and is then destroyed.

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use cotter_hook::connection::Connection;
use cotter_hook::process::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open, setsid};

use crate::arguments::Target;

/// How long a refused client has to fetch the text.
const GRACE: Duration = Duration::from_secs(1);

/// Starts the process that will end `connection`, or ends it at once if none can be started.
pub(crate) fn begin(connection: &Connection, monitor: Pid) -> Result<(), String> {
    // The program that runs, even if its file was replaced meanwhile. No pipe of PAM's is passed on: pam_exec
    // waits until the last holder has closed it.
    let started = Command::new("/proc/self/exe")
        .args([
            "end-connection",
            "--monitor",
            &monitor.to_string(),
            "--cookie",
            &connection.cookie.to_string(),
        ])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(_) => Ok(()),
        Err(_) => connection.destroy().map(drop).map_err(|error| error.to_string()),
    }
}

/// The process itself: waits for the monitor to end by itself, and ends the connection if it has not.
pub(crate) fn run(target: &Target) -> ExitCode {
    // Signals to the terminal's or the login's process group are not for us. It fails for a group leader only,
    // which gets none anyway.
    let _ = setsid();
    let Ok(monitor) = pidfd_open(target.monitor, PidfdFlags::empty()) else {
        return ExitCode::SUCCESS;
    };
    let grace = Timespec { tv_sec: i64::try_from(GRACE.as_secs()).unwrap_or(1), tv_nsec: 0 };
    match poll(&mut [PollFd::new(&monitor, PollFlags::IN)], Some(&grace)) {
        Ok(1..) => ExitCode::SUCCESS,
        // Time is up; or interrupted, which is no reason to wait longer.
        Ok(0) | Err(_) => match Connection::with_cookie(target.monitor, target.cookie) {
            Ok(connection) if connection.destroy().is_err() => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        },
    }
}
