//! The directory of keys and certificates, for its owner alone: `$XDG_STATE_HOME/cotter`, else `~/.local/state/cotter`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cotter_api::{Authority, Fingerprint, Place, Trust};
use serde::{Deserialize, Serialize};

/// Why the directory is of no use.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nobody says where it is.
    #[error("neither XDG_STATE_HOME nor HOME is set")]
    Nowhere,
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
    #[error("{path}: {why}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The directory.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

/// The authority that somebody logs in at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Where it is.
    pub authority: Place,
    /// The fingerprint of its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Or who vouches for it: a PEM file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Who logs in there.
    pub user: String,
}

impl Known {
    /// The authority, to be asked.
    ///
    /// # Errors
    /// What is wrong with the fingerprint or the file, in words.
    pub fn authority(&self) -> Result<Authority, String> {
        let trust = match (&self.fingerprint, &self.ca_file) {
            (Some(text), _) => {
                text.parse::<Fingerprint>().map(Trust::Fingerprint).map_err(|error| error.to_string())?
            }
            (None, Some(file)) => Trust::of_file(file).map_err(|error| error.to_string())?,
            (None, None) => return Err("nothing says what makes the authority the right one".to_owned()),
        };
        Ok(Authority::new(self.authority.clone(), trust))
    }
}

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

    fn at(path: &Path) -> Result<Self, HomeError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error(path))?;
        let mode = fs::metadata(path).map_err(error(path))?.mode();
        if mode & 0o077 == 0 { Ok(Self(path.into())) } else { Err(HomeError::Open(path.into())) }
    }

    /// Where the private key lies; the certificate lies beside it as `-cert.pub`, where ssh looks for it.
    pub fn key(&self) -> PathBuf {
        self.0.join("id")
    }

    /// Where the certificate lies.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("id-cert.pub")
    }

    fn known_file(&self) -> PathBuf {
        self.0.join("authority.json")
    }

    /// The authority of the last login.
    ///
    /// # Errors
    /// That what lies there cannot be read.
    pub fn known(&self) -> Result<Option<Known>, HomeError> {
        let path = self.known_file();
        let Some(text) = self.read(&path)? else { return Ok(None) };
        let why = |error: serde_json::Error| HomeError::Unreadable { path, why: error.to_string() };
        serde_json::from_str(&text).map(Some).map_err(why)
    }

    /// Remembers the authority of a login.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn remember(&self, known: &Known) -> Result<(), HomeError> {
        let path = self.known_file();
        let text = serde_json::to_string_pretty(known);
        let text =
            text.map_err(|error| HomeError::Unreadable { path: path.clone(), why: error.to_string() })?;
        self.write(&path, &text)
    }

    /// A file's text, if it is there.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<String>, HomeError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(failed) => Err(error(path)(failed)),
        }
    }

    /// Replaces a file at once, for its owner alone.
    pub(crate) fn write(&self, path: &Path, text: &str) -> Result<(), HomeError> {
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

    /// Removes key and certificate; whether there were any.
    ///
    /// # Errors
    /// That they are still there.
    pub fn forget(&self) -> Result<bool, HomeError> {
        let mut any = false;
        for path in [self.key(), self.certificate()] {
            match fs::remove_file(&path) {
                Ok(()) => any = true,
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
                Err(failed) => return Err(error(&path)(failed)),
            }
        }
        Ok(any)
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
    fn what_is_written_is_its_owners_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(&directory.path().join("cotter")).unwrap();
        assert_eq!(home.known().unwrap(), None);
        let known = Known {
            authority: "login.example.com".parse().unwrap(),
            fingerprint: Some("SHA256:00".into()),
            ca_file: None,
            user: "alice".into(),
        };
        home.remember(&known).unwrap();
        assert_eq!(home.known().unwrap(), Some(known));
        assert_eq!(fs::metadata(home.known_file()).unwrap().mode() & 0o777, 0o600);
        home.write(&home.key(), "secret").unwrap();
        assert!(home.forget().unwrap());
        assert!(!home.forget().unwrap());
    }

    #[test]
    fn a_directory_that_others_may_read_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Home::at(directory.path()), Err(HomeError::Open(_))));
    }
}
