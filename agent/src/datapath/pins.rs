//! The directory in bpffs that outlives the agent: who may write it, and what lies where.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent_ebpf::ABI_VERSION;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with, statfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::Error;

/// Where bpffs belongs; the one place where the agent mounts it itself.
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPFFS_MAGIC: i64 = 0xcafe_4a11;
/// The name of the directory in which a new version is put together.
const STAGING: &str = "staging";
/// How long an agent that is just ending, or a process that it has just begun, may hold on to the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The agent's pin directory, checked, and locked against a second agent.
#[derive(Debug)]
pub(super) struct Pins {
    path: PathBuf,
    _lock: File,
}

impl Pins {
    /// Makes the directory if it is missing, and checks that nobody but root can change what lies in it.
    pub(super) fn prepare(path: &Path) -> Result<Self, Error> {
        let refuse = |why: String| Error::PinDirectory { path: path.into(), why };
        if !path.is_absolute() {
            return Err(refuse("the pin directory must be an absolute path".into()));
        }
        let parent = path.parent().ok_or_else(|| refuse("the pin directory cannot be the root".into()))?;
        if path.starts_with(BPFFS) && !is_bpffs(Path::new(BPFFS)) {
            mount(
                "bpf",
                BPFFS,
                "bpf",
                MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
                c"mode=0700",
            )
            .map_err(|error| refuse(format!("cannot mount bpffs at {BPFFS}: {error}")))?;
        }
        if !is_on_bpffs(path) {
            let there = parent.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(parent);
            return Err(refuse(format!("not on bpffs; mount one: mount -t bpf bpf {}", there.display())));
        }
        DirBuilder::new().mode(0o700).recursive(true).create(parent).map_err(Error::file(parent))?;
        let parent = parent.canonicalize().map_err(Error::file(parent))?;
        check_parents(&parent).map_err(refuse)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(Error::file(path)(error)),
            Ok(()) | Err(_) => {}
        }
        check_own(path).map_err(refuse)?;
        let pins = Self { path: path.into(), _lock: locked(path)? };
        pins.set_staging_aside().map(|()| pins)
    }

    /// Where everything of this agent's version lies.
    pub(super) fn current(&self) -> PathBuf {
        version_directory(&self.path, ABI_VERSION)
    }

    /// Where everything of version `abi` lies.
    pub(super) fn version(&self, abi: u32) -> PathBuf {
        version_directory(&self.path, abi)
    }

    /// Where a new version is put together before it is moved into place; empty and fresh.
    pub(super) fn staging(&self) -> Result<PathBuf, Error> {
        let staging = self.path.join(STAGING);
        DirBuilder::new().mode(0o700).create(&staging).map_err(Error::file(&staging))?;
        Ok(staging)
    }

    /// Puts what an interrupted start has left to the others: links that judge packets may lie there.
    fn set_staging_aside(&self) -> Result<(), Error> {
        let staging = self.path.join(STAGING);
        if staging.symlink_metadata().is_ok() { rename(&staging, &self.replaced()) } else { Ok(()) }
    }

    /// Makes what was put together the current version; what was that before lies among the others from then on. An
    /// interrupted start leaves either the one or the other in force.
    pub(super) fn put_in_force(&self, staging: &Path) -> Result<(), Error> {
        let current = self.current();
        if current.symlink_metadata().is_err() {
            return rename(staging, &current);
        }
        let exchanged = renameat_with(CWD, staging, CWD, &current, RenameFlags::EXCHANGE);
        exchanged.map_err(|error| Error::file(&current)(error.into()))?;
        rename(staging, &self.replaced())
    }

    /// A free place for what stands in the way, until its links have been taken over.
    fn replaced(&self) -> PathBuf {
        let places = (0u32..).map(|number| self.path.join(format!("replaced{number}")));
        places.into_iter().find(|place| place.symlink_metadata().is_err()).unwrap_or_default()
    }

    /// All directories of earlier agents but that of the current version.
    pub(super) fn others(&self) -> Result<Vec<PathBuf>, Error> {
        let entries = fs::read_dir(&self.path).map_err(Error::file(&self.path))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let current = self.current();
        Ok(paths.filter(|path| *path != current && is_version(path)).collect())
    }
}

/// Whether a path is of those that [`Pins::version`] and [`Pins::replaced`] give.
fn is_version(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let number = name.strip_prefix("replaced").or_else(|| name.strip_prefix('v'));
    number.is_some_and(|number| number.parse::<u32>().is_ok()) && path.is_dir()
}

/// Where version `abi` of what is pinned in `pin_directory` lies.
pub(super) fn version_directory(pin_directory: &Path, abi: u32) -> PathBuf {
    pin_directory.join(format!("v{abi}"))
}

/// Removes a directory with everything in it, or a file; that it is missing is fine.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Moves a pin; what lay there before is replaced at once.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::file(from))
}

/// Locks the directory. The lock lives as long as any copy of its descriptor, and a process that was begun with such a
/// copy lets go of it a moment later.
fn locked(path: &Path) -> Result<File, Error> {
    let lock = File::open(path).map_err(Error::file(path))?;
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) if Instant::now() < patience => sleep(Duration::from_millis(10)),
            Err(Errno::WOULDBLOCK) => return Err(Error::AlreadyRunning { path: path.into() }),
            Err(error) => return Err(Error::file(path)(error.into())),
        }
    }
}

/// Whether a pin directory lies, or would be made, on bpffs.
pub(crate) fn is_on_bpffs(path: &Path) -> bool {
    path.ancestors().skip(1).find(|ancestor| ancestor.is_dir()).is_some_and(is_bpffs)
}

/// Looks at a pin directory and those above it, if they are there: whether nobody but root can change what lies in it.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    let parent = path.parent().filter(|parent| parent.is_dir());
    let checked = parent.map_or(Ok(()), check_parents);
    let checked =
        checked.and_then(|()| if path.symlink_metadata().is_ok() { check_own(path) } else { Ok(()) });
    checked.map_err(|why| Error::PinDirectory { path: path.into(), why })
}

fn is_bpffs(path: &Path) -> bool {
    #[allow(clippy::unnecessary_cast, reason = "the field has another type on other architectures")]
    statfs(path).is_ok_and(|found| found.f_type as i64 & 0xffff_ffff == BPFFS_MAGIC)
}

/// Nobody but root may replace the directory by one of their own: every parent is root's, and others may write it only
/// if it is sticky.
fn check_parents(parent: &Path) -> Result<(), String> {
    for ancestor in parent.ancestors() {
        let metadata = fs::metadata(ancestor).map_err(|error| format!("{}: {error}", ancestor.display()))?;
        if metadata.uid() != 0 {
            return Err(format!("{} does not belong to root", ancestor.display()));
        }
        if metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0 {
            return Err(format!("{} can be written by others than root", ancestor.display()));
        }
    }
    Ok(())
}

fn check_own(path: &Path) -> Result<(), String> {
    let metadata = fs::symlink_metadata(path).map_err(|error: io::Error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("not a directory".into());
    }
    if metadata.uid() != 0 {
        return Err("does not belong to root; remove it, or name another bpf_pin_dir".into());
    }
    if metadata.mode() & 0o7777 != 0o700 {
        let mode = metadata.mode() & 0o7777;
        return Err(format!("has mode {mode:04o} instead of 0700; remove it, or name another bpf_pin_dir"));
    }
    Ok(())
}
