//! The policy of the authority that the node follows: verified, merged with what the node's own files say, and kept.

use super::{Config, FollowedAuthority};
use crate::daemon::replace;
use cotter_api::{PolicyDocument, RulesError, SignedPolicy, SignedPolicyError};
use pinning::{CaKey, Cluster, Policy, PolicyError, Role};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Below the state directory.
const DIRECTORY: &str = "authority";
/// Root's alone: it names people and says why they are locked.
const DOCUMENT: &str = "policy.json";
/// The same, of a newer one whose rules are refused.
const REFUSED: &str = "refused.json";
/// What sshd's TrustedUserCAKeys may name.
const USER_CA: &str = "user_ca.pub";
/// Longest file: the document, in which quotation marks may take two bytes, and its signature.
const LONGEST: u64 = 2 * cotter_api::LONGEST_DOCUMENT as u64 + (1 << 16);

/// A policy with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// What it says.
    pub document: PolicyDocument,
    signed: SignedPolicy,
}

/// Why a policy is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// It is not authentic, or cannot be read.
    #[error(transparent)]
    Signed(#[from] SignedPolicyError),
    /// It is of another cluster.
    #[error("the policy is of cluster {0:?}, and {1:?} is followed")]
    OtherCluster(String, String),
    /// It is older than one that is known.
    #[error(
        "the policy has version {0}, and {1} is known: an old one is played back, or the authority's storage was put \
         back to an earlier day"
    )]
    Lower(u64, u64),
    /// What it says makes no sense.
    #[error("the policy is not in itself consistent: {0}")]
    Rules(#[from] RulesError),
    /// It does not go with what the node's own files say.
    #[error("the policy does not go with this node's own files: {0}")]
    Merge(#[from] PolicyError),
    /// What was kept cannot be read.
    #[error("{0}: {1}")]
    Kept(PathBuf, String),
}

impl Followed {
    /// A policy that one of the authority's keys has signed, of the cluster that the configuration names if it does.
    ///
    /// # Errors
    /// It is none.
    pub fn verify(signed: SignedPolicy, authority: &FollowedAuthority) -> Result<Self, FollowError> {
        let document = signed.verify(&authority.keys)?;
        match &authority.cluster {
            Some(cluster) if *cluster != document.cluster => {
                Err(FollowError::OtherCluster(document.cluster, cluster.clone()))
            }
            _ => Ok(Self { document, signed }),
        }
    }

    /// Whether this one is newer than one that is known.
    ///
    /// # Errors
    /// It is older, or of another cluster.
    pub fn is_newer_than(&self, known: &Self) -> Result<bool, FollowError> {
        let (new, old) = (&self.document, &known.document);
        if new.cluster != old.cluster {
            return Err(FollowError::OtherCluster(new.cluster.clone(), old.cluster.clone()));
        }
        if new.version < old.version {
            return Err(FollowError::Lower(new.version, old.version));
        }
        Ok(new.version > old.version)
    }

    /// What was kept, verified anew: the one whose rules count, and a newer one whose locks alone do.
    ///
    /// # Errors
    /// It cannot be read, or is not one to follow.
    fn read(
        state_dir: &Path,
        authority: &FollowedAuthority,
        name: &str,
    ) -> Result<Option<Self>, FollowError> {
        let path = state_dir.join(DIRECTORY).join(name);
        let kept = |error: &dyn std::fmt::Display| FollowError::Kept(path.clone(), error.to_string());
        let mut text = Vec::new();
        match File::open(&path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(kept(&error)),
            Ok(_) => {}
        }
        let signed = serde_json::from_slice(&text).map_err(|error| kept(&error))?;
        Self::verify(signed, authority).map(Some)
    }

    fn write(&self, state_dir: &Path, name: &str) -> io::Result<()> {
        let path = directory(state_dir)?.join(name);
        replace(&path, &serde_json::to_vec(&self.signed)?, 0o600)
    }

    /// The same, verified for another `[authority]`.
    pub(crate) fn again(&self, authority: &FollowedAuthority) -> Result<Self, FollowError> {
        Self::verify(self.signed.clone(), authority)
    }
}

fn directory(state_dir: &Path) -> io::Result<PathBuf> {
    let path = state_dir.join(DIRECTORY);
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The file of CA keys that sshd may be pointed to.
#[must_use]
pub fn user_ca_file(state_dir: &Path) -> PathBuf {
    state_dir.join(DIRECTORY).join(USER_CA)
}

/// What the node's own files say.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) policy: Policy,
    pub(super) hash: String,
    /// Of clusters that do not name their own.
    pub(super) principals_file: Option<String>,
}

impl Config {
    /// The same configuration, following this policy.
    ///
    /// What the node's own files say wins: a cluster or role that they name is theirs, whole, and that of the policy is
    /// left out (and listed), as is a cluster or file of roles that this version does not understand.
    ///
    /// # Errors
    /// The policy makes no sense, or not together with the files.
    pub fn follow(&self, followed: Arc<Followed>) -> Result<Self, FollowError> {
        let document = &followed.document;
        let rules = document.rules()?;
        let (mut clusters, mut left_out) = (self.own.policy.clusters().to_vec(), rules.not_understood());
        for cluster in rules.clusters(&document.cluster)? {
            if clusters.iter().any(|own| own.name == cluster.name) {
                left_out.push(format!("cluster {}", cluster.name));
            } else {
                clusters.push(self.adapted(cluster, &document.cluster));
            }
        }
        let mut roles: Vec<Role> = self.own.policy.roles().cloned().collect();
        for role in rules.roles()? {
            if self.own.policy.role(&role.name).is_some() {
                left_out.push(format!("role {}", role.name));
            } else {
                roles.push(role);
            }
        }
        let policy = Policy::new(clusters, roles)?;
        let hash = hash(&self.own.hash, &followed.signed.document);
        let followed = Some(followed);
        Ok(Self { policy, hash, left_out, followed, refused: None, follow_error: None, ..self.clone() })
    }

    /// The same configuration with the locks of a newer policy whose rules are refused.
    pub(crate) fn with_locks_of(&self, refused: Arc<Followed>, error: &FollowError) -> Self {
        Self { refused: Some(refused), follow_error: Some(error.to_string()), ..self.clone() }
    }

    /// The newest policy that is known, whose locks count.
    #[must_use]
    pub fn newest_followed(&self) -> Option<&Arc<Followed>> {
        self.refused.as_ref().or(self.followed.as_ref())
    }

    /// Follows this one, or takes its locks at least.
    fn follow_or_lock(self, followed: Arc<Followed>) -> Self {
        self.follow(Arc::clone(&followed)).unwrap_or_else(|error| self.with_locks_of(followed, &error))
    }

    /// The same, following what was kept.
    pub(super) fn follow_kept(self) -> Self {
        let Some(authority) = self.authority.clone() else { return self };
        let mut config = self;
        for name in [DOCUMENT, REFUSED] {
            match Followed::read(&config.state_dir, &authority, name) {
                Ok(None) => {}
                Ok(Some(kept)) => {
                    let known = config.newest_followed().map(|known| kept.is_newer_than(known));
                    if matches!(known, None | Some(Ok(true))) {
                        config = config.follow_or_lock(Arc::new(kept));
                    }
                }
                Err(error) => config.follow_error = Some(error.to_string()),
            }
        }
        config
    }

    /// Keeps what is followed for the next agent.
    ///
    /// # Errors
    /// It could not be written; what was kept before is untouched.
    pub(crate) fn keep_followed(&self) -> io::Result<()> {
        if let Some(followed) = &self.followed {
            followed.write(&self.state_dir, DOCUMENT)?;
        }
        if let Some(refused) = &self.refused {
            return refused.write(&self.state_dir, REFUSED);
        }
        // What could not be read is not to be forgotten for that: a slip of the pen may be behind it.
        if self.followed.is_none() || self.follow_error.is_some() {
            return Ok(());
        }
        match fs::remove_file(self.state_dir.join(DIRECTORY).join(REFUSED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The same, following what was followed before unless what was kept is newer: the disk may not have taken it.
    ///
    /// # Errors
    /// The policy that was in force does not go with these files, or with this `[authority]`.
    pub(crate) fn go_on_following(mut self, before: &Self) -> Result<Self, String> {
        let Some(authority) = self.authority.clone() else { return Ok(self) };
        // A slip of the pen must not lift its locks: whoever means it removes what was kept, and restarts the agent.
        let again = |known: &Arc<Followed>| {
            known.again(&authority).map(Arc::new).map_err(|error| format!("[authority]: {error}"))
        };
        if let Some(known) = &before.followed {
            self = self.follow(again(known)?).map_err(|error| error.to_string())?;
        }
        if let Some(refused) = &before.refused {
            self = self.follow_or_lock(again(refused)?);
        }
        Ok(self)
    }

    /// What the node has to say on clusters of a policy.
    fn adapted(&self, cluster: Cluster, own: &str) -> Cluster {
        let on_expiry = match &self.authority {
            Some(authority) if cluster.name == own => authority.on_expiry,
            _ => cluster.on_expiry,
        };
        Cluster { on_expiry, principals_file: self.own.principals_file.clone(), ..cluster }
    }

    /// Writes the CA keys of all clusters in force, for sshd. While the policy is not in force as a whole, keys that stand
    /// there stay: sshd would deny by fault what is not the agent's to allow, and the agent judges in any case.
    ///
    /// # Errors
    /// It could not be written; the file before is untouched.
    pub fn write_user_ca(&self) -> io::Result<()> {
        let keys = self.policy.clusters().iter().flat_map(|cluster| &cluster.user_ca);
        let mut lines: Vec<String> = keys.map(CaKey::line).collect();
        directory(&self.state_dir)?;
        let path = user_ca_file(&self.state_dir);
        let before = fs::read_to_string(&path).unwrap_or_default();
        if self.followed.is_none() || self.follow_error.is_some() {
            let stays =
                before.lines().filter(|line| !line.is_empty() && !lines.iter().any(|new| new == line));
            let stays: Vec<String> = stays.map(str::to_owned).collect();
            lines.extend(stays);
        }
        let text = lines.join("\n") + "\n";
        if before == text {
            return Ok(());
        }
        replace(&path, text.as_bytes(), 0o644)
    }
}

/// Of the files and the policy together.
fn hash(files: &str, policy: &str) -> String {
    let mut hash = Sha256::new();
    for part in [files, policy] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
