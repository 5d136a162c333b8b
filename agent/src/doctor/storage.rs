//! What is to outlive a reboot: whether the agent can write it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Finding, Node};

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    if !node.is_open() {
        return Vec::new();
    }
    let pid = node.status.as_ref().ok().map(|status| status.pid);
    let state = &node.places.state_dir;
    // An agent that starts makes it.
    let there = state.ancestors().find(|directory| directory.is_dir()).unwrap_or(state);
    let mut findings = vec![match takes_files(&seen_by(pid, there)) {
        Ok(()) => {
            Finding::ok("state-directory", format!("{} takes what must outlive a reboot", state.display()))
        }
        Err(error) => Finding::error(
            "state-directory",
            format!("{}: {error}: locks and the mode do not outlive a reboot", state.display()),
            "make room, or see that the agent may write there",
        ),
    }];
    let log = node.config.as_ref().ok().and_then(|config| config.event_log.as_deref());
    findings.extend(log.and_then(|log| Some(event_log(log, &seen_by(pid, log.parent()?)))));
    findings
}

fn event_log(log: &Path, directory: &Path) -> Finding {
    match takes_files(directory) {
        Ok(()) => Finding::ok("event-log", format!("{} can be written", log.display())),
        Err(error) => Finding::warning(
            "event-log",
            format!("{}: {error}: events go to the journal alone", log.display()),
            "make room, or name a file below /var/log/cotter, the only place that the packaged unit can write",
        ),
    }
}

/// A directory as a process sees it: the unit gives the agent a file system that is mostly read-only.
fn seen_by(pid: Option<u32>, directory: &Path) -> PathBuf {
    let root = pid.map(|pid| PathBuf::from(format!("/proc/{pid}/root"))).filter(|root| root.exists());
    root.map_or_else(
        || directory.to_owned(),
        |root| root.join(directory.strip_prefix("/").unwrap_or(directory)),
    )
}

/// Whether a file of a page can be written there; it never gets a name, so it leaves no trace.
fn takes_files(directory: &Path) -> io::Result<()> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file).write_all(&[0; 4096]),
        // A file system that knows no files without a name.
        Err(Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
