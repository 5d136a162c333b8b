//! Keys in files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey, PublicKey};

use super::CaError;

/// Makes an Ed25519 key where no file is yet, readable by its owner alone.
///
/// # Errors
/// That it cannot be written, also that there is a file.
pub fn make(path: &Path, comment: &str) -> Result<PrivateKey, CaError> {
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(no_key(path))?;
    key.set_comment(comment);
    let text = key.to_openssh(LineEnding::LF).map_err(no_key(path))?;
    crate::files::write_new(path, text.as_bytes(), 0o600).map_err(file(path))?;
    Ok(key)
}

/// The key of a file that nobody but its owner may read.
pub(crate) fn read(path: &Path) -> Result<PrivateKey, CaError> {
    let mode = fs::metadata(path).map_err(file(path))?.mode();
    if mode & 0o077 != 0 {
        return Err(CaError::Readable(path.into()));
    }
    let text = fs::read_to_string(path).map_err(file(path))?;
    let key = PrivateKey::from_openssh(&text).map_err(no_key(path))?;
    if key.is_encrypted() {
        return Err(CaError::Encrypted(path.into()));
    }
    if key.algorithm().is_rsa() {
        let why = "an RSA key signs only from within an ssh-agent ({ public = PATH, agent = SOCKET })";
        return Err(CaError::NoKey { path: path.into(), why: why.into() });
    }
    require_kind(&key.algorithm(), path)?;
    Ok(key)
}

/// The first public key of a file.
pub(super) fn read_public(path: &Path) -> Result<PublicKey, CaError> {
    let text = fs::read_to_string(path).map_err(file(path))?;
    let line = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let key = PublicKey::from_openssh(line.unwrap_or_default()).map_err(no_key(path))?;
    require_kind(&key.algorithm(), path)?;
    Ok(key)
}

fn require_kind(kind: &Algorithm, path: &Path) -> Result<(), CaError> {
    if matches!(kind, Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. }) {
        Ok(())
    } else {
        Err(no_key(path)(format!("keys of kind {kind} do not sign certificates here")))
    }
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> CaError {
    move |source| CaError::File { path: path.into(), source }
}

fn no_key<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> CaError {
    move |why| CaError::NoKey {
        path: path.into(),
        why: format!("no key in OpenSSH's form that can sign: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_others_may_read_does_not_sign() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca");
        let made = make(&path, "a comment").unwrap();
        assert_eq!(read(&path).unwrap().public_key(), made.public_key());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(CaError::Readable(_))));
        assert!(matches!(make(&path, ""), Err(CaError::File { .. })));
    }

    #[test]
    fn what_is_no_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pub");
        fs::write(&path, "# nothing\n").unwrap();
        let error = read_public(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
    }
}
