//! The policy that nodes follow: made and signed once a version, and handed to all who wait for it.

mod feed;
mod key;
mod published;
mod roles;

pub use feed::{Feed, Waiting};
pub use key::PolicySigner;
pub use published::LastPublished;
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
    /// What its own files said when they were last published.
    pub last: LastPublished,
}

impl Publisher {
    /// Publishes what stands in the files; the roles that differ from what was published last, by whichever authority.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub(crate) async fn publish(&self, rules: &Rules) -> Result<RoleChanges, PolicyError> {
        let text = serde_json::to_string(rules)?;
        let before = self.store.rules().await?;
        let is_new = self.store.publish(&text).await?;
        if let Err(error) = self.last.set(&text, self.store.policy_version().await?) {
            tracing::warn!(
                "a restart will publish these files again, whatever others publish until then: {error}"
            );
        }
        Ok(if is_new { RoleChanges::between(before.as_deref(), rules) } else { RoleChanges::default() })
    }

    /// The same at a start: files that have not changed since they were published count for nothing against what another
    /// authority on the same storage has published since; unless that storage was put back to an earlier day.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub(crate) async fn publish_at_start(&self, rules: &Rules) -> Result<RoleChanges, PolicyError> {
        let text = serde_json::to_string(rules)?;
        let version = self.store.policy_version().await?;
        match self.store.rules().await? {
            Some(published) if published != text && self.last.is(&text, version) => {
                tracing::warn!(
                    "another authority has published other roles, clusters or CA keys than this one's files have; \
                     bring them here, or reload this one to publish its own"
                );
                Ok(RoleChanges::default())
            }
            _ => self.publish(rules).await,
        }
    }

    /// Makes the policy as it is now.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub async fn make(&self) -> Result<Published, PolicyError> {
        let now = clock::unix();
        let policy = self.store.policy(&self.cluster).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Location;

    fn rules(on_key: &str) -> Rules {
        serde_json::from_value(serde_json::json!({ "user_ca": [on_key], "roles": [] })).unwrap()
    }

    #[tokio::test]
    async fn a_start_publishes_what_is_new_here_and_undoes_nothing_of_others() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let location = Location::Sqlite(one.path().join("authority.db"));
        let store = Store::open(&location).await.unwrap();
        let publisher = |directory: &tempfile::TempDir| Publisher {
            cluster: "example.com".to_owned(),
            store: store.clone(),
            signer: PolicySigner::load_or_make(directory.path(), "example.com").unwrap(),
            last: LastPublished::of(directory.path()),
        };
        let (one, other) = (publisher(&one), publisher(&other));
        let published = async || store.rules().await.unwrap().unwrap();
        one.publish_at_start(&rules("old")).await.unwrap();
        other.publish(&rules("new")).await.unwrap();
        one.publish_at_start(&rules("old")).await.unwrap();
        assert!(published().await.contains("new"));
        // Who edits the files and restarts means it.
        one.publish_at_start(&rules("newer")).await.unwrap();
        assert!(published().await.contains("newer"));
        other.publish_at_start(&rules("new")).await.unwrap();
        assert!(published().await.contains("newer"));
        other.publish(&rules("new")).await.unwrap();
        assert!(!published().await.contains("newer"));
        // A storage of an earlier day is brought to what was published on it since.
        one.last.set(&serde_json::to_string(&rules("newer")).unwrap(), u64::MAX).unwrap();
        one.publish_at_start(&rules("newer")).await.unwrap();
        assert!(published().await.contains("newer"));
    }
}
