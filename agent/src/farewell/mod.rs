//! Last words: a session's terminals are told why it ends, and what to do.
//!
//! A terminal's user can make whoever opens it wait for as long as the user likes, in part beyond the reach of signals.
//! So this is a process of its own: the agent starts it and never waits for its end.

mod owner;
mod terminals;

use crate::audit::CutCause;
use crate::session::Cgroups;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Most sessions that one process tells.
pub(crate) const MOST_SESSIONS: usize = 64;
/// Most bytes that a list of them takes; a cgroup's path has 4096 at most (`PATH_MAX`).
const MOST_BYTES: u64 = MOST_SESSIONS as u64 * 8192;
/// Longest that it tells; the terminals that keep it waiting get no words.
const TELLING: Duration = Duration::from_millis(300);

/// A session that ends, for those who tell it so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Farewell {
    /// The sshd process that serves it.
    pub(crate) monitor: u32,
    /// Its cgroup, if it has one of its own.
    pub(crate) cgroup: Option<String>,
    /// Why it ends.
    pub(crate) cause: CutCause,
}

/// Tells all sessions of a JSON list, each on a thread of its own, so that none keeps the words from the others; whether
/// any terminal has taken them. Whoever hangs ends with the process, and the process with its parent.
///
/// # Errors
/// The list cannot be read.
pub(crate) fn say(list: impl Read) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let farewells: Vec<Farewell> = serde_json::from_reader(list.take(MOST_BYTES))?;
    let deadline = Instant::now() + TELLING;
    let cgroups = Arc::new(Cgroups::find().ok());
    let (told, counts) = mpsc::channel();
    for farewell in farewells.into_iter().take(MOST_SESSIONS) {
        let (told, cgroups) = (told.clone(), Arc::clone(&cgroups));
        let tell = move || told.send(terminals::tell(&farewell, Option::as_ref(&cgroups)));
        if thread::Builder::new().spawn(tell).is_err() {
            // The others have a thread each.
            break;
        }
    }
    drop(told);
    let mut any = false;
    while let Ok(count) = counts.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        any |= count > 0;
    }
    Ok(any)
}

/// Carriage returns, since the terminal may be in raw mode.
fn line(cause: CutCause) -> String {
    let why = match cause {
        CutCause::Expired => "your certificate has expired; get a new one and log in again",
        CutCause::Lock => "it has been locked; ask your administrator",
        CutCause::Command => "an administrator has ended it",
        CutCause::Relay => "your session on the bastion is over",
        CutCause::NewAddress => "you have logged in from another address; here, log in again",
    };
    format!("\r\nCotter ends this session: {why}.\r\n")
}
