//! What was there before, on disk before the first change, so that also a setup that was killed can be put back.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::Error;

/// The journal's file.
const FILE: &str = "journal.json";
/// What new content is written to before it is moved into place; sshd and the agent read no such names.
const NEW: &str = ".cotter-setup.new";

/// The setup's own directory, held by one setup at a time.
#[derive(Debug)]
pub(super) struct Desk {
    directory: PathBuf,
    _lock: File,
}

impl Desk {
    /// The directory below the agent's state, made if it is missing. Fails if another setup is at work.
    pub(super) fn take(state_dir: &Path) -> Result<Self, Error> {
        let directory = state_dir.join("setup");
        fs::create_dir_all(state_dir)?;
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let lock = File::open(&directory)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_held| Error::Stop("another `cotter-agent setup` is at work".to_owned()))?;
        Ok(Self { directory, _lock: lock })
    }

    /// For what is needed only meanwhile.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Puts back what an interrupted setup has changed; whether there was one.
    pub(super) fn recover(&self) -> Result<bool, Error> {
        let path = self.directory.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            read => read?,
        };
        let before = serde_json::from_slice(&text).map_err(|error| {
            Error::Stop(format!("{}: {error}; what is changed must be put back by hand", path.display()))
        })?;
        Journal { path, before }.roll_back()?;
        Ok(true)
    }

    /// Notes what these files are now.
    pub(super) fn begin(&self, files: &[PathBuf]) -> Result<Journal, Error> {
        let before: Vec<Before> = files.iter().map(|file| Before::of(file)).collect::<io::Result<_>>()?;
        let text = serde_json::to_vec(&before).map_err(io::Error::from)?;
        let path = self.directory.join(FILE);
        write(&path, &text, &Attributes { mode: 0o600, uid: 0, gid: 0 })?;
        Ok(Journal { path, before })
    }
}

/// A setup under way.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    before: Vec<Before>,
}

impl Journal {
    /// All is well: nothing is to be put back any more.
    pub(super) fn close(self) -> Result<(), Error> {
        fs::remove_file(&self.path)?;
        Ok(sync_directory(&self.path)?)
    }

    /// Puts everything back; the journal goes only when all of it is.
    pub(super) fn roll_back(self) -> Result<(), Error> {
        self.before.iter().try_for_each(Before::put_back)?;
        self.close()
    }
}

/// A file as it was.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    path: PathBuf,
    /// None if there was no such file.
    file: Option<(Attributes, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Before {
    fn of(path: &Path) -> io::Result<Self> {
        let content = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), file: None });
            }
            read => read.map_err(|error| named(path, &error))?,
        };
        let attributes = Attributes::of(path)?;
        Ok(Self { path: path.to_owned(), file: Some((attributes, content)) })
    }

    fn put_back(&self) -> Result<(), Error> {
        remove(&self.path.with_file_name(NEW))?;
        match &self.file {
            None => Ok(remove(&self.path)?),
            Some(_) if Self::of(&self.path)? == *self => Ok(()),
            Some((attributes, content)) => Ok(write(&self.path, content, attributes)?),
        }
    }
}

impl Attributes {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path).map_err(|error| named(path, &error))?;
        Ok(Self { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() })
    }
}

/// Replaces a file, or makes one that all may read, in one step; its owner and mode stay.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let attributes = match Attributes::of(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Attributes { mode: 0o644, uid: 0, gid: 0 },
        found => found?,
    };
    write(path, text.as_bytes(), &attributes)
}

/// Removes a file; that it is missing is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(named(path, &error)),
        Err(_) => Ok(()),
        Ok(()) => sync_directory(path),
    }
}

fn write(path: &Path, content: &[u8], attributes: &Attributes) -> io::Result<()> {
    // Where the file is a link, it stays one.
    let path = path.canonicalize().unwrap_or_else(|_missing| path.to_owned());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_file_name(NEW);
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        fchown(&file, Some(attributes.uid), Some(attributes.gid))?;
        file.set_permissions(Permissions::from_mode(attributes.mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync_directory(&path)
    };
    written().map_err(|error| named(&path, &error))
}

fn sync_directory(of: &Path) -> io::Result<()> {
    of.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_an_interrupted_setup_changed_is_put_back_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("kept"), b"\xff\n").unwrap();
        fs::set_permissions(at("kept"), Permissions::from_mode(0o640)).unwrap();
        fs::write(at("target"), "old").unwrap();
        symlink(at("target"), at("link")).unwrap();
        let desk = Desk::take(dir.path()).unwrap();
        let files = ["kept", "link", "made"].map(at);
        drop(desk.begin(&files).unwrap());
        replace(&at("kept"), "new\n").unwrap();
        replace(&at("link"), "new\n").unwrap();
        replace(&at("made"), "new\n").unwrap();
        fs::write(at(NEW), "half").unwrap();
        assert!(desk.recover().unwrap());
        assert_eq!(fs::read(at("kept")).unwrap(), b"\xff\n");
        assert_eq!(fs::metadata(at("kept")).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_link(at("link")).unwrap(), at("target"));
        assert_eq!(fs::read(at("target")).unwrap(), b"old");
        assert!(!at("made").exists() && !at(NEW).exists());
        assert!(!desk.recover().unwrap());
    }

    #[test]
    fn one_setup_at_a_time_is_at_work() {
        let dir = tempfile::tempdir().unwrap();
        let _desk = Desk::take(dir.path()).unwrap();
        assert!(matches!(Desk::take(dir.path()), Err(Error::Stop(_))));
    }
}
