//! The directory of what is remembered, for its owner alone: `$XDG_STATE_HOME/cotter`, else `~/.local/state/cotter`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use cotter_api::Place;

/// Why the directory is of no use.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nobody says where it is.
    #[error("neither XDG_STATE_HOME nor HOME is set: there is no place for keys")]
    Nowhere,
    /// Another process is logging in.
    #[error("another cotter is logging in; try again when it is done")]
    Busy,
    /// Others may look into it.
    #[error("{0}: others may read it (chmod 700)")]
    Open(PathBuf),
    /// Something in it cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What lies in it was not written by this program.
    #[error("{path}: {why}; remove it and log in again")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// How long to wait for somebody else's login.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// As long as it takes; what is called first tells that somebody waits.
    APersons(fn()),
    /// Some seconds.
    AMoment,
}

/// Between two looks at somebody else's lock, and how many there are.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 100;

/// `None`: it is still somebody else's.
fn lock_soon(file: &File) -> Option<io::Result<()>> {
    for _ in 0..LOOKS {
        match file.try_lock() {
            Ok(()) => return Some(Ok(())),
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK),
            Err(TryLockError::Error(failed)) => return Some(Err(failed)),
        }
    }
    None
}

/// The directory.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// The directory of who runs this, made if it is missing.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn open() -> Result<Self, HomeError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
        Self::at(&state.ok_or(HomeError::Nowhere)?.join("cotter"))
    }

    pub(crate) fn at(path: &Path) -> Result<Self, HomeError> {
        directory(path).map(Self)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where key and certificate from this authority lie.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn drawer(&self, place: &Place) -> Result<Drawer, HomeError> {
        // Neither a host's name nor its address holds a slash, and none begins with a dot.
        directory(&self.0.join(format!("{}_{}", place.host(), place.port()))).map(Drawer)
    }

    /// The right to log in, of one process at a time. Whoever waits for a person says so, and waits as long as that takes;
    /// others wait for a moment.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn turn(&self, patience: Patience) -> Result<File, HomeError> {
        let path = self.0.join("lock");
        let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open().map_err(error(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                match patience {
                    Patience::APersons(waiting) => {
                        waiting();
                        file.lock().map_err(error(&path))?;
                    }
                    Patience::AMoment => lock_soon(&file).ok_or(HomeError::Busy)?.map_err(error(&path))?,
                }
                Ok(file)
            }
            Err(TryLockError::Error(failed)) => Err(error(&path)(failed)),
        }
    }
}

/// Where key and certificate from one authority lie.
#[derive(Debug, Clone)]
pub struct Drawer(PathBuf);

impl Drawer {
    /// Where the private key lies, if it is not in the ssh-agent; the other files lie beside it, where ssh looks for them.
    pub fn key(&self) -> PathBuf {
        self.0.join("id")
    }

    /// Where the public key lies.
    pub fn public(&self) -> PathBuf {
        self.0.join("id.pub")
    }

    /// Where the certificate lies.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("id-cert.pub")
    }

    /// Removes key and certificate; whether there were any.
    ///
    /// # Errors
    /// That they are still there.
    pub fn empty(&self) -> Result<bool, HomeError> {
        let mut any = false;
        for path in [self.key(), self.certificate(), self.public()] {
            match fs::remove_file(&path) {
                Ok(()) => any = true,
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
                Err(failed) => return Err(error(&path)(failed)),
            }
        }
        Ok(any)
    }
}

fn directory(path: &Path) -> Result<PathBuf, HomeError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error(path))?;
    let mode = fs::metadata(path).map_err(error(path))?.mode();
    if mode & 0o077 == 0 { Ok(path.into()) } else { Err(HomeError::Open(path.into())) }
}

/// A file's text, if it is there.
pub(crate) fn read(path: &Path) -> Result<Option<String>, HomeError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(failed) => Err(error(path)(failed)),
    }
}

/// Replaces a file at once, for its owner alone.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), HomeError> {
    // Another `cotter` may write the same.
    let staged = path.with_extension(format!("new{}", std::process::id()));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&staged, path)
    };
    write().map_err(error(path))
}

fn error(path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    move |source| HomeError::File { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_its_owners_and_goes_when_the_drawer_is_emptied() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(&directory.path().join("cotter")).unwrap();
        let drawer = home.drawer(&"login.example.com".parse().unwrap()).unwrap();
        assert!(!drawer.empty().unwrap());
        write(&drawer.key(), "secret").unwrap();
        assert_eq!(fs::metadata(drawer.key()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read(&drawer.key()).unwrap().as_deref(), Some("secret"));
        assert!(drawer.empty().unwrap());
        assert_eq!(read(&drawer.key()).unwrap(), None);
    }

    #[test]
    fn a_directory_that_others_may_read_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Home::at(directory.path()), Err(HomeError::Open(_))));
    }

    #[test]
    fn a_turn_is_taken_by_one_alone() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(&directory.path().join("cotter")).unwrap();
        let turn = home.turn(Patience::AMoment).unwrap();
        let other = File::open(home.path().join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(turn);
        assert!(other.try_lock().is_ok());
    }
}
