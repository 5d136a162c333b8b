//! Holds up a process.

use std::fs;

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};

use crate::eventually::eventually;

/// A process that stands still as long as this is held.
pub(crate) struct Paused(Pid);

impl Paused {
    /// Stops it.
    pub(crate) fn new(process: Pid) -> Result<Self> {
        let paused = Self(process);
        pause(process)?;
        Ok(paused)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // It may be gone.
        let _gone = kill_process(self.0, Signal::CONT);
    }
}

/// Stops a process until it gets SIGCONT. Its threads go on until one of them has taken note of the signal, so that is waited
/// for.
pub(crate) fn pause(process: Pid) -> Result<()> {
    kill_process(process, Signal::STOP)?;
    let tasks = format!("/proc/{}/task", process.as_raw_nonzero());
    eventually("all threads have stopped", || {
        for task in fs::read_dir(&tasks)? {
            let stat = fs::read_to_string(task?.path().join("stat"))?;
            // Behind the name, which may hold anything.
            if !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}
