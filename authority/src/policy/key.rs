//! The key that signs policies: of this authority alone, and no CA key.

use std::path::{Path, PathBuf};

use ssh_key::{Algorithm, PrivateKey};

use crate::ca::{self, CaError};

/// The key.
#[derive(Clone)]
pub struct PolicySigner(PrivateKey);

impl std::fmt::Debug for PolicySigner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PolicySigner({})", self.0.fingerprint(ssh_key::HashAlg::Sha256))
    }
}

impl PolicySigner {
    /// Reads the key of a state directory, or makes one where there is none.
    ///
    /// # Errors
    /// That it cannot be read or made, or is none of Ed25519.
    pub fn load_or_make(state_dir: &Path, cluster: &str) -> Result<Self, CaError> {
        let path: PathBuf = state_dir.join("policy");
        let key =
            if path.exists() { ca::read(&path)? } else { ca::make(&path, &format!("{cluster} policy"))? };
        let algorithm = key.algorithm();
        if algorithm == Algorithm::Ed25519 {
            return Ok(Self(key));
        }
        Err(CaError::NoKey { path, why: format!("it is {algorithm}, and policies need Ed25519") })
    }

    /// What nodes know the policy by.
    ///
    /// # Errors
    /// What `ssh_key` says.
    pub fn public_line(&self) -> Result<String, ssh_key::Error> {
        self.0.public_key().to_openssh()
    }

    pub(super) fn key(&self) -> &PrivateKey {
        &self.0
    }
}
