//! The keys that certificates are signed with: in files, or with an ssh-agent that lets nobody have them.

mod agent;
mod error;
mod file;

pub use error::{AgentError, CaError, SignError};
pub use file::make;
pub(crate) use file::read;

use std::path::PathBuf;
use std::sync::Arc;

use pinning::CaKey;
use serde::Deserialize;
use ssh_key::certificate::Builder;
use ssh_key::{Certificate, Fingerprint, HashAlg, PrivateKey, PublicKey};

use agent::AgentKey;

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "neither the path of a key nor { public = PATH, agent = SOCKET }"
)]
pub enum KeySource {
    /// In a file in OpenSSH's form.
    File(PathBuf),
    /// Behind an ssh-agent, such as one of a hardware token or a TPM.
    Agent {
        /// The file of its public half.
        public: PathBuf,
        /// The agent's socket.
        agent: PathBuf,
    },
}

/// The authority's keys: the first one signs, and nodes are to trust them all, so that a new key can be made known before it
/// signs.
#[derive(Debug, Clone)]
pub struct CaKeys(Arc<[Key]>);

enum Key {
    File(Box<PrivateKey>),
    Agent(AgentKey),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.public().fingerprint(HashAlg::Sha256), out)
    }
}

impl Key {
    fn load(source: &KeySource) -> Result<Self, CaError> {
        match source {
            KeySource::File(path) => file::read(path).map(|key| Self::File(Box::new(key))),
            KeySource::Agent { public, agent } => {
                AgentKey::new(file::read_public(public)?, agent).map(Self::Agent)
            }
        }
    }

    fn public(&self) -> &PublicKey {
        match self {
            Self::File(key) => key.public_key(),
            Self::Agent(key) => key.public(),
        }
    }
}

impl CaKeys {
    /// Reads the keys. An agent is not asked for anything yet: it may come later.
    ///
    /// # Errors
    /// The first that cannot be used; that one is there twice, or none.
    pub fn load(sources: &[KeySource]) -> Result<Self, CaError> {
        let keys: Vec<_> = sources.iter().map(Key::load).collect::<Result<_, _>>()?;
        for (number, key) in keys.iter().enumerate() {
            if keys[..number].iter().any(|other| other.public().key_data() == key.public().key_data()) {
                return Err(CaError::Twice(key.public().fingerprint(HashAlg::Sha256)));
            }
        }
        if keys.is_empty() { Err(CaError::None) } else { Ok(Self(keys.into())) }
    }

    /// Signs with the first key. An agent gets some seconds.
    ///
    /// # Errors
    /// That it does not sign, or not with the key that it is to sign with.
    pub async fn sign(&self, builder: Builder) -> Result<Certificate, SignError> {
        match &self.0[0] {
            Key::File(key) => Ok(builder.sign(&**key)?),
            Key::Agent(key) => key.sign(builder).await,
        }
    }

    /// Fingerprints, that of the key that signs first.
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        self.0.iter().map(|key| key.public().fingerprint(HashAlg::Sha256))
    }

    /// The public keys as OpenSSH has them, one a line, the one that signs first.
    ///
    /// # Errors
    /// What `ssh_key` says.
    pub fn public_lines(&self) -> Result<String, ssh_key::Error> {
        self.0.iter().map(|key| key.public().to_openssh().map(|line| line + "\n")).collect()
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
