//! A process in the lab.

use std::ops::{Deref, DerefMut};
use std::process::Child;

use anyhow::{Context, Result};
use rustix::process::Pid;

use crate::place::Place;

/// A process that some place runs, to be used like the [`Child`] that it is; killed when dropped. The lab lives at
/// least as long as it does, for a pid namespace cannot end before all in it have been waited for.
#[derive(Debug)]
pub struct Process {
    child: Child,
    _place: Place,
}

impl Process {
    pub(crate) fn new(place: Place, child: Child) -> Self {
        Self { child, _place: place }
    }

    /// Its process id in the caller's eyes.
    pub fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.child.id())?).context("a process id of zero")
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors here mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
