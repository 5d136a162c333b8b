//! The keys that certificates are signed with.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pinning::CaKey;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds no key that can be used.
    #[error("{path}: no private key in OpenSSH's form, or one of another kind than Ed25519 and ECDSA: {why}")]
    NoKey {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is protected by a passphrase, for which nobody can be asked.
    #[error("{0}: the key has a passphrase; an authority runs unattended")]
    Encrypted(PathBuf),
    /// Others than its owner may read it.
    #[error("{0}: others may read it (chmod 600)")]
    Readable(PathBuf),
    /// There are no keys.
    #[error("no CA key: `cotter-authority init` makes one")]
    None,
}

/// The authority's keys: the first one signs, and nodes are to trust them all, so that a new key can be made known before it
/// signs.
#[derive(Clone)]
pub struct CaKeys(Vec<PrivateKey>);

impl std::fmt::Debug for CaKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.0.iter().map(|key| key.fingerprint(ssh_key::HashAlg::Sha256))).finish()
    }
}

impl CaKeys {
    /// Reads the keys of files.
    ///
    /// # Errors
    /// The first that cannot be used, or that there is none.
    pub fn load(paths: &[PathBuf]) -> Result<Self, CaError> {
        let keys: Vec<_> = paths.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(CaError::None) } else { Ok(Self(keys)) }
    }

    /// The key that signs.
    pub fn signer(&self) -> &PrivateKey {
        &self.0[0]
    }

    /// The public keys as OpenSSH has them, one a line, the one that signs first.
    ///
    /// # Errors
    /// What `ssh_key` says.
    pub fn public_lines(&self) -> Result<String, ssh_key::Error> {
        self.0.iter().map(|key| key.public_key().to_openssh().map(|line| line + "\n")).collect()
    }

    /// The same for the check.
    ///
    /// # Errors
    /// What `ssh_key` says.
    pub fn trusted(&self) -> Result<Vec<CaKey>, ssh_key::Error> {
        let lines = self.public_lines()?;
        CaKey::parse_all(&lines).map_err(|_own_keys| ssh_key::Error::FormatEncoding)
    }
}

/// Makes an Ed25519 key where no file is yet, readable by its owner alone.
///
/// # Errors
/// That it cannot be written, also that there is a file.
pub fn make(path: &Path, comment: &str) -> Result<PrivateKey, CaError> {
    let no_key = |error: ssh_key::Error| CaError::NoKey { path: path.into(), why: error.to_string() };
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(no_key)?;
    key.set_comment(comment);
    let text = key.to_openssh(LineEnding::LF).map_err(no_key)?;
    crate::files::write_new(path, text.as_bytes(), 0o600).map_err(file(path))?;
    Ok(key)
}

/// Reads a private key that only its owner may read.
pub(crate) fn read(path: &Path) -> Result<PrivateKey, CaError> {
    let mode = fs::metadata(path).map_err(file(path))?.mode();
    if mode & 0o077 != 0 {
        return Err(CaError::Readable(path.into()));
    }
    let no_key = |error: ssh_key::Error| CaError::NoKey { path: path.into(), why: error.to_string() };
    let text = fs::read_to_string(path).map_err(file(path))?;
    let key = PrivateKey::from_openssh(&text).map_err(no_key)?;
    if key.is_encrypted() {
        return Err(CaError::Encrypted(path.into()));
    }
    let algorithm = key.algorithm();
    if matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { .. }) {
        Ok(key)
    } else {
        Err(CaError::NoKey { path: path.into(), why: format!("it is {algorithm}") })
    }
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> CaError {
    move |source| CaError::File { path: path.into(), source }
}
