//! Whether the programs of the sessions' cgroup hang where they should.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aya::Ebpf;

use super::attachment::causes;
use super::{Datapath, hooks};

/// The cgroup below which all sessions have theirs, with the programs on it, or why they are not.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// The cgroup's directory; none if this node has no such thing.
    cgroup: Option<PathBuf>,
    /// Which directory that was: one that is removed and made again is another one, without programs.
    inode: Option<u64>,
    held: Result<(), String>,
    retry: Retry,
}

impl Endpoints {
    /// Loads and attaches the programs. Where that fails flows are judged all the same, so it keeps no agent from starting.
    pub(super) fn hold(ebpf: &mut Ebpf, directory: &Path, cgroup: Option<&Path>) -> Self {
        let now = Instant::now();
        let mut endpoints = Self {
            cgroup: cgroup.map(Path::to_owned),
            inode: None,
            held: Err("there is no cgroup2 file system".to_owned()),
            retry: Retry::from(now),
        };
        if let Some(cgroup) = cgroup {
            endpoints.attach(ebpf, directory, cgroup, now);
        }
        if let Err(error) = &endpoints.held {
            tracing::error!(error, "what sessions open themselves is not judged");
        }
        endpoints
    }

    fn attach(&mut self, ebpf: &mut Ebpf, directory: &Path, cgroup: &Path, now: Instant) {
        self.inode = inode(cgroup);
        let attached = hooks::load(ebpf).and_then(|()| hooks::attach(ebpf, cgroup, directory));
        self.held = attached.map_err(|error| causes(&error));
        self.retry = if self.held.is_ok() { Retry::from(now) } else { self.retry.later(now) };
    }

    /// Why the programs do not hang any more where they did.
    fn loss(&self, directory: &Path, cgroup: &Path) -> Option<String> {
        if inode(cgroup) != self.inode {
            return Some(format!("{} is not the cgroup that it was", cgroup.display()));
        }
        let missing = hooks::missing(directory)?;
        Some(format!("somebody has removed {}", missing.display()))
    }
}

impl Datapath {
    /// Looks whether the programs still hang on the sessions' cgroup; why what sessions open themselves is not judged, if
    /// it is not.
    pub fn verify_endpoints(&mut self) -> Result<(), String> {
        let directory = self.directory();
        let Self { endpoints, .. } = self;
        if let (Some(cgroup), Ok(())) = (&endpoints.cgroup, &endpoints.held)
            && let Some(loss) = endpoints.loss(&directory, cgroup)
        {
            endpoints.held = Err(loss);
        }
        endpoints.held.clone()
    }

    /// Has the programs hang on the sessions' cgroup that is there now, made anew if it was removed; why they do not, if
    /// they do not. What has failed is not tried again at once.
    pub fn hold_endpoints(&mut self, now: Instant) -> Result<(), String> {
        let directory = self.directory();
        let Self { ebpf, endpoints, .. } = self;
        if let (Some(cgroup), Err(_)) = (endpoints.cgroup.clone(), &endpoints.held)
            && endpoints.retry.is_due(now)
        {
            // If it can neither be found nor made, attaching says so.
            let _made = fs::create_dir(&cgroup);
            endpoints.attach(ebpf, &directory, &cgroup, now);
        }
        endpoints.held.clone()
    }
}

fn inode(directory: &Path) -> Option<u64> {
    fs::metadata(directory).ok().map(|metadata| metadata.ino())
}

/// When something is tried again that has failed: the later, the more often it has.
#[derive(Debug, Clone, Copy)]
struct Retry {
    due: Instant,
    /// How long it is left alone if it fails again.
    pause: Duration,
}

impl Retry {
    const SHORTEST: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(300);

    /// It has not failed yet.
    fn from(now: Instant) -> Self {
        Self { due: now, pause: Self::SHORTEST }
    }

    fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// It has failed again.
    fn later(self, now: Instant) -> Self {
        Self { due: now + self.pause, pause: (self.pause * 2).min(Self::LONGEST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_is_tried_ever_more_seldom() {
        let now = Instant::now();
        let mut retry = Retry::from(now);
        assert!(retry.is_due(now));
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            retry = retry.later(now);
            let pause = Duration::from_secs(seconds);
            assert!(retry.is_due(now + pause) && !retry.is_due(now + pause - Duration::from_millis(1)));
        }
    }
}
