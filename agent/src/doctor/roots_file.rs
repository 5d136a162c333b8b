//! Files that only root can have put where they are. At a place of users' there may be a device, a pipe or a link to a
//! file of the kernel's, of which the opening alone has effects, or a file system that does not answer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, ReadDir};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat, readlinkat};
use rustix::io::Errno;

/// How many links a path may lead over, as for the kernel.
const MAX_LINKS: usize = 40;

/// Why something is not looked into.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("not a regular file")]
    NotRegular,
    #[error("users may have put it there; doctor does not look into it")]
    Users,
    #[error("doctor does not look into file systems of type {0}")]
    Strange(String),
    #[error("larger than {0} bytes")]
    TooLarge(u64),
}

impl From<Errno> for PlaceError {
    fn from(error: Errno) -> Self {
        Self::Read(error.into())
    }
}

impl PlaceError {
    /// Whether there is no such thing: a file in the place of a directory is none, either.
    pub(super) fn is_missing(&self) -> bool {
        let none = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        matches!(self, Self::Read(error) if none.contains(&error.kind()))
    }
}

/// The content of a regular file, whoever's it is, at most `max` bytes.
pub(super) fn read(path: &Path, max: u64) -> Result<Vec<u8>, PlaceError> {
    let place = reach(path)?;
    if FileType::from_raw_mode(fstat(&place)?.st_mode) != FileType::RegularFile {
        return Err(PlaceError::NotRegular);
    }
    let mut content = Vec::new();
    File::open(reached(&place))?.take(max + 1).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|len| len <= max) {
        Ok(content)
    } else {
        Err(PlaceError::TooLarge(max))
    }
}

/// What is in a directory that is root's alone.
pub(super) fn entries(directory: &Path) -> Result<ReadDir, PlaceError> {
    let place = reach(directory)?;
    roots_alone(&place)?;
    Ok(fs::read_dir(reached(&place))?)
}

/// What was reached, though its path may mean something else by now.
fn reached(place: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", place.as_raw_fd())
}

/// What an absolute path leads to, by directories in which nobody but root can put anything; it is not opened.
fn reach(path: &Path) -> Result<OwnedFd, PlaceError> {
    let strange = strange_places(&fs::read("/proc/self/mountinfo")?);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = || open("/", flags, Mode::empty());
    let (mut here, mut at, mut links) = (root()?, PathBuf::from("/"), 0);
    let mut left = parts(path);
    while let Some(name) = left.pop() {
        roots_alone(&here)?;
        let mut to = at.join(&name);
        if name == ".." {
            to = at.parent().unwrap_or(&at).to_owned();
        }
        if let Some(kind) = strange.get(&to) {
            return Err(PlaceError::Strange(kind.clone()));
        }
        let next = openat(&here, &name, flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&next)?.st_mode) != FileType::Symlink {
            (here, at) = (next, to);
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = PathBuf::from(OsString::from_vec(readlinkat(&next, "", Vec::new())?.into_bytes()));
        if target.is_absolute() {
            (here, at) = (root()?, PathBuf::from("/"));
        }
        left.extend(parts(&target));
    }
    Ok(here)
}

/// The names in a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let named = |part: &Component| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(named).map(|part| part.as_os_str().to_owned()).rev().collect()
}

fn roots_alone(directory: &OwnedFd) -> Result<(), PlaceError> {
    let stat = fstat(directory)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Errno::NOTDIR.into());
    }
    if stat.st_uid == 0 && stat.st_mode & 0o022 == 0 { Ok(()) } else { Err(PlaceError::Users) }
}

/// Where file systems are mounted that another machine or program answers for, or of which files are the kernel's own
/// (proc(5), mountinfo): with their types.
fn strange_places(mountinfo: &[u8]) -> BTreeMap<PathBuf, String> {
    const STRANGE: &[&str] = &[
        "9p",
        "afs",
        "autofs",
        "ceph",
        "cifs",
        "glusterfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "virtiofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "efivarfs",
        "mqueue",
        "proc",
        "pstore",
        "securityfs",
        "selinuxfs",
        "sysfs",
        "tracefs",
    ];
    let text = String::from_utf8_lossy(mountinfo);
    let mounts = text.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        Some((mount.split(' ').nth(4)?, source.split(' ').next()?))
    });
    let mut kinds = BTreeMap::new();
    for (place, kind) in mounts {
        let place =
            place.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
        // What is mounted last hides what is below it.
        kinds.insert(PathBuf::from(place), kind.to_owned());
    }
    kinds.retain(|_, kind| STRANGE.contains(&kind.as_str()) || kind == "fuse" || kind.starts_with("fuse."));
    kinds
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn only_what_root_alone_can_have_put_there_is_opened() {
        let dir = tempfile::tempdir_in("/run").unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("users")).unwrap();
        for name in ["file", "users/file"] {
            fs::write(at(name), "1234").unwrap();
        }
        chown(at("file"), Some(12345), None).unwrap();
        symlink("file", at("link")).unwrap();
        symlink(at("users/../link"), at("links")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("/proc/kmsg", at("kernels")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), FileType::Fifo, 0o600.into(), 0).unwrap();

        for name in ["file", "users/file", "link", "links"] {
            assert_eq!(read(&at(name), 4).unwrap(), b"1234", "{name}");
        }
        assert!(matches!(read(&at("file"), 3), Err(PlaceError::TooLarge(3))));
        assert!(matches!(read(&at("pipe"), 4), Err(PlaceError::NotRegular)));
        assert!(matches!(read(dir.path(), 4), Err(PlaceError::NotRegular)));
        assert!(matches!(read(&at("kernels"), 4), Err(PlaceError::Strange(kind)) if kind == "proc"));
        assert!(matches!(read(&at("loop"), 4), Err(PlaceError::Read(_))));
        assert!(read(&at("none"), 4).unwrap_err().is_missing());
        assert!(read(&at("file/none"), 4).unwrap_err().is_missing());
        assert_eq!(entries(&at("users")).unwrap().count(), 1);

        let change: [fn(&Path); 3] = [
            |users| fs::set_permissions(users, Permissions::from_mode(0o775)).unwrap(),
            |users| fs::set_permissions(users, Permissions::from_mode(0o1757)).unwrap(),
            |users| chown(users, Some(12345), None).unwrap(),
        ];
        for change in change {
            fs::set_permissions(at("users"), Permissions::from_mode(0o755)).unwrap();
            change(&at("users"));
            for name in ["users/file", "users/none", "links"] {
                assert!(matches!(read(&at(name), 4), Err(PlaceError::Users)), "{name}");
            }
            assert!(matches!(entries(&at("users")), Err(PlaceError::Users)));
        }
    }

    #[test]
    fn file_systems_that_may_not_answer_are_known_before_they_are_touched() {
        let places = strange_places(
            b"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /home\\040s rw shared:1 - nfs4 there:/ rw\n\
              3 1 0:3 / /srv rw - fuse.sshfs there rw\n4 3 0:4 / /srv rw - ext4 /dev/vdb rw\n",
        );
        assert_eq!(places, BTreeMap::from([(PathBuf::from("/home s"), "nfs4".to_owned())]));
    }
}
