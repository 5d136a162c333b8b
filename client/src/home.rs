//! The directory of what is remembered, for its owner alone: `$XDG_STATE_HOME/cotter`, else `~/.local/state/cotter`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cotter_api::Place;
use rustix::process::geteuid;
use tokio::time::sleep;

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
    /// It is somebody else's.
    #[error(
        "{0}: it belongs to another account; with sudo, set HOME and XDG_STATE_HOME to those of that account"
    )]
    Foreign(PathBuf),
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

/// Between two looks at somebody else's lock, and how many there are for who waits a moment.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 100;

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
    pub async fn turn(&self, patience: Patience) -> Result<File, HomeError> {
        let path = self.0.join("lock");
        let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open().map_err(error(&path))?;
        for look in 0_u32.. {
            match (file.try_lock(), patience) {
                (Ok(()), _) => break,
                // Not every file system has locks.
                (Err(TryLockError::Error(none)), _) if none.kind() == io::ErrorKind::Unsupported => break,
                (Err(TryLockError::Error(failed)), _) => return Err(error(&path)(failed)),
                (Err(TryLockError::WouldBlock), Patience::AMoment) if look >= LOOKS => {
                    return Err(HomeError::Busy);
                }
                (Err(TryLockError::WouldBlock), Patience::APersons(waiting)) if look == 0 => waiting(),
                (Err(TryLockError::WouldBlock), _) => {}
            }
            sleep(LOOK).await;
        }
        Ok(file)
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

    /// Where the certificate's key for knocks lies, if the authority gives any.
    pub fn knock_key(&self) -> PathBuf {
        self.0.join("knock.key")
    }

    /// Where the configuration lies that ssh gets where hosts on the way need the certificate, too.
    pub fn ssh_config(&self) -> PathBuf {
        self.0.join("ssh_config")
    }

    /// Removes key and certificate, and what a process that was killed left of them; whether there were any.
    ///
    /// # Errors
    /// That they are still there.
    pub fn empty(&self) -> Result<bool, HomeError> {
        let any = [self.key(), self.certificate(), self.public()].iter().any(|path| path.exists());
        for entry in fs::read_dir(&self.0).map_err(error(&self.0))? {
            remove(&entry.map_err(error(&self.0))?.path())?;
        }
        Ok(any)
    }
}

fn directory(path: &Path) -> Result<PathBuf, HomeError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error(path))?;
    let found = fs::metadata(path).map_err(error(path))?;
    match found.mode() & 0o077 {
        _ if found.uid() != geteuid().as_raw() => Err(HomeError::Foreign(path.into())),
        0 => Ok(path.into()),
        _ => Err(HomeError::Open(path.into())),
    }
}

/// A file's text, if it is there.
pub(crate) fn read(path: &Path) -> Result<Option<String>, HomeError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(failed) => Err(error(path)(failed)),
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), HomeError> {
    match fs::remove_file(path) {
        Err(failed) if failed.kind() != io::ErrorKind::NotFound => Err(error(path)(failed)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Replaces a file at once, for its owner alone.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), HomeError> {
    write_all(&[(path, text)])
}

/// Replaces files, each at once and one directly after the other: none before all are written, for their owner alone.
pub(crate) fn write_all(files: &[(&Path, &str)]) -> Result<(), HomeError> {
    let staged: Vec<Staged> =
        files.iter().map(|(path, text)| Staged::write(path, text)).collect::<Result<_, _>>()?;
    staged.into_iter().try_for_each(Staged::put)
}

/// A file that is written, and not in its place yet; gone if it never comes there.
struct Staged {
    at: PathBuf,
    path: PathBuf,
}

impl Staged {
    fn write(path: &Path, text: &str) -> Result<Self, HomeError> {
        // Another `cotter` may write the same.
        let mut at = path.to_owned().into_os_string();
        at.push(format!(".new{}", std::process::id()));
        let staged = Self { at: at.into(), path: path.to_owned() };
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged.at)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        // What a process of that number left behind when it was killed is of no use.
        let _nothing = fs::remove_file(&staged.at);
        write().map_err(error(path))?;
        Ok(staged)
    }

    fn put(self) -> Result<(), HomeError> {
        fs::rename(&self.at, &self.path).map_err(error(&self.path))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Where it was put in its place, there is nothing any more.
        let _nothing = fs::remove_file(&self.at);
    }
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
    fn what_cannot_be_put_in_its_place_is_not_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(&directory.path().join("cotter")).unwrap();
        let drawer = home.drawer(&"login.example.com".parse().unwrap()).unwrap();
        fs::create_dir(drawer.certificate()).unwrap();
        assert!(write_all(&[(&drawer.certificate(), "certificate"), (&drawer.key(), "secret")]).is_err());
        let left: Vec<_> = fs::read_dir(drawer.certificate().parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[tokio::test]
    async fn a_turn_is_one_processs_alone_and_the_next_ones_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(&directory.path().join("cotter")).unwrap();
        let turn = home.turn(Patience::AMoment).await.unwrap();
        let other = File::open(home.path().join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        let give_back = async {
            sleep(LOOK * 2).await;
            drop(turn);
        };
        assert!(tokio::join!(home.turn(Patience::AMoment), give_back).0.is_ok());
    }
}
