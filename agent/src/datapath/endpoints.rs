//! Whether the programs of the sessions' cgroup hang where they should.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
}

impl Endpoints {
    /// Loads and attaches the programs. Where that fails flows are judged all the same, so it keeps no agent from starting.
    pub(super) fn hold(ebpf: &mut Ebpf, directory: &Path, cgroup: Option<&Path>) -> Self {
        let mut endpoints = Self {
            cgroup: cgroup.map(Path::to_owned),
            inode: None,
            held: Err("there is no cgroup2 file system".to_owned()),
        };
        if let Some(cgroup) = cgroup {
            endpoints.held = hooks::load(ebpf).map_err(|error| causes(&error));
            if endpoints.held.is_ok() {
                endpoints.attach(ebpf, directory, cgroup);
            }
        }
        if let Err(error) = &endpoints.held {
            tracing::error!(error, "what sessions open themselves is not judged");
        }
        endpoints
    }

    fn attach(&mut self, ebpf: &mut Ebpf, directory: &Path, cgroup: &Path) {
        self.inode = inode(cgroup);
        self.held = hooks::attach(ebpf, cgroup, directory).map_err(|error| causes(&error));
    }
}

impl Datapath {
    /// Sees to it that the programs hang on the sessions' cgroup that is there now, made anew if it was removed; why what
    /// sessions open themselves is not judged, if it is not.
    pub fn hold_endpoints(&mut self) -> Result<(), &str> {
        let directory = self.directory();
        let Self { ebpf, endpoints, .. } = self;
        if let (Some(cgroup), true) = (endpoints.cgroup.clone(), endpoints.inode.is_some()) {
            let now = inode(&cgroup).or_else(|| fs::create_dir(&cgroup).ok().and_then(|()| inode(&cgroup)));
            if now != endpoints.inode {
                tracing::warn!("{} is another cgroup than it was", cgroup.display());
                endpoints.attach(ebpf, &directory, &cgroup);
            }
        }
        endpoints.held.as_ref().copied().map_err(String::as_str)
    }
}

fn inode(directory: &Path) -> Option<u64> {
    fs::metadata(directory).ok().map(|metadata| metadata.ino())
}
