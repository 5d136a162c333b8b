//! What goes wrong with the keys that sign.

use std::path::PathBuf;

use ssh_key::Fingerprint;

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
    #[error("{path}: {why}")]
    NoKey {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is protected by a passphrase, for which nobody can be asked.
    #[error(
        "{0}: the key has a passphrase, and an authority runs unattended: let an ssh-agent have it (agent = SOCKET)"
    )]
    Encrypted(PathBuf),
    /// Others than its owner may read it.
    #[error("{0}: others may read it (chmod 600)")]
    Readable(PathBuf),
    /// A key is there twice.
    #[error("ca_keys: the key {0} is there twice")]
    Twice(Fingerprint),
    /// There are no keys.
    #[error("ca_keys: no key")]
    None,
}

/// Why a certificate was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It cannot be put together.
    #[error("the certificate cannot be made: {0}")]
    Unfit(#[from] ssh_key::Error),
    /// The agent does not do what it was asked.
    #[error("the ssh-agent at {socket} does not sign: {why}")]
    Agent {
        /// Where.
        socket: PathBuf,
        /// Why.
        why: AgentError,
    },
}

/// What an agent does instead of signing.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It cannot be talked to.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It takes too long.
    #[error("no answer within {0} s")]
    Slow(u64),
    /// So many others wait for it.
    #[error("too many wait for it")]
    Busy,
    /// It says no.
    #[error("it refuses: it does not have the key, or was told not to sign")]
    Refused,
    /// It says something else.
    #[error("its answer is no signature")]
    Malformed,
    /// It signs something else, or with something else.
    #[error("its signature is not that of the key")]
    Wrong,
}
