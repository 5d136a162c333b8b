//! What outlives a reboot: locks and the commanded mode, in `state_dir/state.json`, replaced as a whole.

use super::mode::Commanded;
use pinning::Lock;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Locks in force.
    #[serde(default)]
    pub(crate) locks: Vec<Lock>,
    /// A mode set by command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<Commanded>,
}

/// The file it is stored in.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file below a state directory.
    #[must_use]
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self { path: dir.join("state.json") }
    }

    /// Reads it; a missing file is an empty state. What in it another version wrote and this one does not know is left
    /// out, with a line in the log.
    ///
    /// # Errors
    /// It cannot be read or makes no sense, and was put aside; its path is named.
    pub(crate) fn read(&self) -> io::Result<Stored> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        match fs::read(&self.path) {
            Ok(text) => parse(&text).map_err(|error| {
                let aside = self.path.with_extension("damaged");
                match fs::rename(&self.path, &aside) {
                    Ok(()) => named(io::Error::other(format!("{error}; it is kept as {}", aside.display()))),
                    Err(_kept) => named(error.into()),
                }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stored::default()),
            Err(error) => Err(named(error)),
        }
    }

    /// Replaces it; after a crash either the old or the new state is there.
    ///
    /// # Errors
    /// It could not be written; the old state is untouched.
    pub(crate) fn write(&self, stored: &Stored) -> io::Result<()> {
        replace(&self.path, &serde_json::to_vec_pretty(stored)?, 0o600)
    }
}

/// Locks are read one by one, so that one that is not understood does not take the others with it.
fn parse(text: &[u8]) -> serde_json::Result<Stored> {
    #[derive(Deserialize)]
    struct Lenient {
        #[serde(default)]
        locks: Vec<serde_json::Value>,
        #[serde(default)]
        mode: Option<serde_json::Value>,
    }
    let lenient: Lenient = serde_json::from_slice(text)?;
    let locks = lenient.locks.into_iter().filter_map(understood).collect();
    Ok(Stored { locks, mode: lenient.mode.and_then(understood) })
}

fn understood<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Option<T> {
    let read = T::deserialize(&value);
    read.inspect_err(|error| tracing::error!("state.json: {value} is not understood and ignored: {error}"))
        .ok()
}

/// Replaces a file as a whole, durably.
///
/// # Errors
/// It could not be written; the old file is untouched.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    // A leftover of a crash may have other permissions.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _gone => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    // Whatever the umask is.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_an_empty_state_and_a_damaged_one_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::in_dir(dir.path());
        assert_eq!(file.read().unwrap(), Stored::default());
        fs::write(dir.path().join("state.json"), "{").unwrap();
        assert!(file.read().unwrap_err().to_string().contains("state.json"));
        assert!(dir.path().join("state.damaged").exists(), "it is kept for whoever wants to mend it");
    }

    #[test]
    fn a_lock_that_is_not_understood_does_not_take_the_others_with_it() {
        let text =
            br#"{"locks": [{"id": "1", "target": {"moon": 7}}, {"id": "2", "target": {"login": "bob"}}]}"#;
        let stored = parse(text).unwrap();
        assert_eq!(stored.locks.iter().map(|lock| lock.id.as_str()).collect::<Vec<_>>(), ["2"]);
    }

    #[test]
    fn what_was_written_is_read_and_only_root_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::in_dir(dir.path());
        let stored = Stored {
            mode: Some(Commanded { mode: pinning::Mode::Enforce, configured: pinning::Mode::Audit }),
            ..Stored::default()
        };
        file.write(&stored).unwrap();
        file.write(&stored).unwrap();
        assert_eq!(file.read().unwrap(), stored);
        let permissions = fs::metadata(dir.path().join("state.json")).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);
    }
}
