//! The policy that nodes follow: made and signed once a version, and handed to all who wait for it.

mod feed;
mod key;
mod roles;

pub use feed::{Feed, Waiting};
pub use key::PolicySigner;
pub(crate) use roles::RoleChanges;

use axum::body::Bytes;
use cotter_api::{Entry, MOST_LOCKS, PolicyDocument, Rules, SignedPolicy, SignedPolicyError};

use crate::clock;
use crate::store::{Store, StoreError};

/// Why there is no policy to hand out.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The store says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What another authority has published cannot be read, or cannot be written.
    #[error("the policy's rules are not understood: {0}")]
    Rules(#[from] serde_json::Error),
    /// It cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignedPolicyError),
    /// Nodes take no more.
    #[error("{0} locks and locked users: nodes take {MOST_LOCKS} at most")]
    TooManyLocks(usize),
}

/// A version of the policy, as it is handed out.
#[derive(Debug)]
pub struct Published {
    /// Its number.
    pub version: u64,
    /// The answer's body.
    pub answer: Bytes,
}

/// What makes the policy of a cluster.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// The cluster's name.
    pub cluster: String,
    /// Where everything is.
    pub store: Store,
    /// What signs.
    pub signer: PolicySigner,
}

impl Publisher {
    /// Publishes what stands in the files; the roles that differ from what was published last, by whichever authority.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub(crate) async fn publish(&self, rules: &Rules) -> Result<RoleChanges, PolicyError> {
        let before = self.store.rules().await?;
        let is_new = self.store.publish(&serde_json::to_string(rules)?).await?;
        Ok(if is_new { RoleChanges::between(before.as_deref(), rules) } else { RoleChanges::default() })
    }

    /// Makes the policy as it is now.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub async fn make(&self) -> Result<Published, PolicyError> {
        let now = clock::unix();
        let policy = self.store.policy(&self.cluster, now).await?;
        if policy.locks.len() > MOST_LOCKS {
            return Err(PolicyError::TooManyLocks(policy.locks.len()));
        }
        let document = PolicyDocument {
            cluster: self.cluster.clone(),
            version: policy.version,
            issued_at: now,
            rules: serde_json::from_str(&policy.rules)?,
            locks: policy.locks.into_iter().map(Entry::Known).collect(),
        };
        let signed = SignedPolicy::sign(&document, self.signer.key())?;
        Ok(Published { version: policy.version, answer: serde_json::to_vec(&signed)?.into() })
    }
}
