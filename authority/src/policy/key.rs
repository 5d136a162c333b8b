//! The key that signs policies: of this authority alone, and no CA key.

use std::path::{Path, PathBuf};

use ssh_key::{Algorithm, PrivateKey};

use crate::ca::{self, CaError};

fn place(state_dir: &Path) -> PathBuf {
    state_dir.join("policy")
}

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
        let path = place(state_dir);
        if path.exists() {
            return Self::load(state_dir);
        }
        Self::checked(ca::make(&path, &format!("{cluster} policy"))?, path)
    }

    /// Reads it. None is made silently: nodes that follow refuse what another key has signed, locks included.
    ///
    /// # Errors
    /// That it is not there, cannot be read, or is none of Ed25519.
    pub fn load(state_dir: &Path) -> Result<Self, CaError> {
        let path = place(state_dir);
        if !path.exists() {
            let why = "it signs what nodes follow. Put it back from your copy of the state directory; or run \
                       `cotter-authority init`, and give the new policy key to every node that follows";
            return Err(CaError::NoKey { path, why: why.to_owned() });
        }
        Self::checked(ca::read(&path)?, path)
    }

    fn checked(key: PrivateKey, path: PathBuf) -> Result<Self, CaError> {
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
