//! The secret that the nodes of a fleet share with their authority, so that a node tells a made-up knock by little work.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cotter_knock::{FleetSecret, KeyError};
use ssh_key::rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use crate::files;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum KnockSecretError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("{0}: others may read it (chmod 600)")]
    Readable(PathBuf),
    /// It holds none.
    #[error("{path}: no secret for knocks, as `cotter-authority knock-secret` makes it: {source}")]
    NoSecret {
        /// Which.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
}

/// The secret of a file that nobody but its owner may read.
///
/// # Errors
/// See [`KnockSecretError`].
pub fn read(path: &Path) -> Result<FleetSecret, KnockSecretError> {
    let mode = fs::metadata(path).map_err(file(path))?.mode();
    if mode & 0o077 != 0 {
        return Err(KnockSecretError::Readable(path.into()));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(file(path))?);
    text.parse().map_err(|source| KnockSecretError::NoSecret { path: path.into(), source })
}

/// Makes one where no file is yet, readable by its owner alone.
///
/// # Errors
/// That it cannot be written, also that there is a file.
pub fn make(path: &Path) -> Result<(), KnockSecretError> {
    let mut bytes = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut bytes[..]);
    let line = Zeroizing::new(format!("{}\n", *FleetSecret::new(*bytes).to_text()));
    files::write_new(path, line.as_bytes(), 0o600).map_err(file(path))
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> KnockSecretError {
    move |source| KnockSecretError::File { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_made_is_read_and_nothing_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        make(&one).unwrap();
        make(&other).unwrap();
        let key = |path: &Path| read(path).unwrap().key_for(b"certificate").to_text();
        assert_ne!(*key(&one), *key(&other));
        assert_eq!(fs::metadata(&one).unwrap().mode() & 0o777, 0o600);
        assert!(make(&one).unwrap_err().to_string().contains("exists"));
    }

    #[test]
    fn a_secret_that_others_may_read_or_that_is_none_is_refused_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        make(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(KnockSecretError::Readable(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hunter2").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("no secret for knocks") && !error.contains("hunter2"), "{error}");
    }
}
