//! The public key of a relay.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

use crate::NAMESPACE;

/// The key by which a relay vouches: Ed25519, in one line as OpenSSH has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelayKey(PublicKey);

/// A text that is no key of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no public key of a relay: one line `ssh-ed25519 AAAA…`, as `cotter-agent relay-key` prints it on the bastion"
)]
pub struct RelayKeyError;

impl RelayKey {
    /// `SHA256:…`, as `ssh-keygen -l` has it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Whether a signature is this key's, over this text.
    pub(crate) fn has_signed(&self, text: &str, signature: &SshSig) -> bool {
        self.0.verify(NAMESPACE, text.as_bytes(), signature).is_ok()
    }
}

impl FromStr for RelayKey {
    type Err = RelayKeyError;

    fn from_str(line: &str) -> Result<Self, RelayKeyError> {
        let key = PublicKey::from_openssh(line.trim()).map_err(|_no_key| RelayKeyError)?;
        if key.algorithm() == Algorithm::Ed25519 { Ok(Self(key)) } else { Err(RelayKeyError) }
    }
}

impl TryFrom<String> for RelayKey {
    type Error = RelayKeyError;

    fn try_from(line: String) -> Result<Self, RelayKeyError> {
        line.parse()
    }
}

impl From<RelayKey> for String {
    fn from(key: RelayKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for RelayKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.to_openssh().map_err(|_what_was_read_can_be_written| fmt::Error)?)
    }
}
