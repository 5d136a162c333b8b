//! The policy in force: which clusters are trusted and which roles this node knows.

use std::collections::{BTreeMap, HashMap};

use crate::role_source;
use crate::{Cluster, Role, RolesFrom};

/// Why clusters and roles do not make a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A cluster's name is empty or holds a slash, which divides `CLUSTER/KEYID`.
    #[error("cluster name {0:?} is empty or holds a slash")]
    BadClusterName(String),
    /// Two clusters have one name.
    #[error("cluster {0:?} is there twice")]
    ClusterTwice(String),
    /// A cluster trusts no key.
    #[error("cluster {0:?} has no user_ca key")]
    NoCaKey(String),
    /// Two clusters trust one key: a certificate would belong to both.
    #[error("the CA key {fingerprint} is in cluster {first:?} and in cluster {second:?}")]
    CaInTwoClusters {
        /// The key as `SHA256:…`.
        fingerprint: String,
        /// The cluster that has it.
        first: String,
        /// The cluster that has it too.
        second: String,
    },
    /// Two roles have one name.
    #[error("role {0:?} is there twice")]
    RoleTwice(String),
    /// A cluster takes its roles from `default_roles`, which is empty: it could never allow anybody.
    #[error("cluster {0:?} takes its roles from default_roles, which is empty")]
    NoDefaultRoles(String),
    /// `default_roles`, after mapping, names a role that does not exist.
    #[error("cluster {cluster:?}: default_roles gives role {role:?}, which no role file defines")]
    DefaultRoleUnknown {
        /// The cluster.
        cluster: String,
        /// The role, by its local name.
        role: String,
    },
}

/// Clusters and roles, consistent with each other.
#[derive(Debug, Clone)]
pub struct Policy {
    clusters: Vec<Cluster>,
    /// Authority key in wire format to index in `clusters`.
    authorities: HashMap<Vec<u8>, usize>,
    roles: BTreeMap<String, Role>,
}

impl Policy {
    /// Puts clusters and roles together.
    ///
    /// # Errors
    /// The first thing that does not fit, by name.
    pub fn new(clusters: Vec<Cluster>, roles: Vec<Role>) -> Result<Self, PolicyError> {
        let mut policy = Self { clusters: Vec::new(), authorities: HashMap::new(), roles: BTreeMap::new() };
        for role in roles {
            if let Some(first) = policy.roles.insert(role.name.clone(), role) {
                return Err(PolicyError::RoleTwice(first.name));
            }
        }
        for cluster in clusters {
            policy.add(cluster)?;
        }
        Ok(policy)
    }

    fn add(&mut self, cluster: Cluster) -> Result<(), PolicyError> {
        let name = || cluster.name.clone();
        if cluster.name.is_empty() || cluster.name.contains('/') {
            return Err(PolicyError::BadClusterName(name()));
        }
        if self.clusters.iter().any(|known| known.name == cluster.name) {
            return Err(PolicyError::ClusterTwice(name()));
        }
        if cluster.user_ca.is_empty() {
            return Err(PolicyError::NoCaKey(name()));
        }
        self.require_default_roles(&cluster)?;
        let index = self.clusters.len();
        for key in &cluster.user_ca {
            let first = *self.authorities.entry(key.wire().to_owned()).or_insert(index);
            if first != index {
                let first = self.clusters[first].name.clone();
                return Err(PolicyError::CaInTwoClusters {
                    fingerprint: key.fingerprint(),
                    first,
                    second: name(),
                });
            }
        }
        self.clusters.push(cluster);
        Ok(())
    }

    fn require_default_roles(&self, cluster: &Cluster) -> Result<(), PolicyError> {
        if cluster.roles_from != RolesFrom::Default {
            return Ok(());
        }
        let local = role_source::local(cluster, &cluster.default_roles);
        if local.is_empty() {
            return Err(PolicyError::NoDefaultRoles(cluster.name.clone()));
        }
        match local.into_iter().find(|role| !self.roles.contains_key(role)) {
            Some(role) => Err(PolicyError::DefaultRoleUnknown { cluster: cluster.name.clone(), role }),
            None => Ok(()),
        }
    }

    /// The clusters, in the order of the configuration.
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// The roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// The role of this name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }

    /// The cluster whose authority has this public key, in wire format.
    pub fn cluster_of(&self, ca: &[u8]) -> Option<&Cluster> {
        self.authorities.get(ca).map(|index| &self.clusters[*index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_certificate::Authority;
    use crate::{CaKey, OnExpiry, RoleMap, RoleMapEntry};

    fn cluster(name: &str, seed: u8) -> Cluster {
        Cluster {
            name: name.to_owned(),
            user_ca: CaKey::parse_all(&Authority::seeded(seed).public_line()).unwrap(),
            roles_from: RolesFrom::Default,
            default_roles: vec!["dev".into()],
            role_map: None,
            on_expiry: OnExpiry::Keep,
            principals_file: None,
        }
    }

    fn roles(names: &[&str]) -> Vec<Role> {
        let role = |name: &&str| format!("---\nkind: role\nversion: v7\nmetadata: {{name: {name}}}\n");
        Role::parse_all(&names.iter().map(role).collect::<String>()).unwrap()
    }

    fn error(clusters: Vec<Cluster>, names: &[&str]) -> String {
        Policy::new(clusters, roles(names)).unwrap_err().to_string()
    }

    #[test]
    fn a_consistent_policy_is_found_again() {
        let policy = Policy::new(vec![cluster("a", 1), cluster("b", 2)], roles(&["prod", "dev"])).unwrap();
        assert_eq!(policy.clusters().len(), 2);
        assert_eq!(policy.roles().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["dev", "prod"]);
        assert_eq!(policy.role("dev").unwrap().name, "dev");
        assert!(policy.role("Dev").is_none());
        let key = CaKey::parse_all(&Authority::seeded(2).public_line()).unwrap().remove(0);
        assert_eq!(policy.cluster_of(key.wire()).unwrap().name, "b");
        assert!(policy.cluster_of(b"").is_none());
    }

    #[test]
    fn inconsistencies_are_errors_that_name_the_thing() {
        let key = CaKey::parse_all(&Authority::seeded(1).public_line()).unwrap().remove(0).fingerprint();
        assert_eq!(
            error(vec![cluster("a", 1), cluster("b", 1)], &["dev"]),
            format!("the CA key {key} is in cluster \"a\" and in cluster \"b\"")
        );
        assert_eq!(error(vec![cluster("a", 1), cluster("a", 2)], &["dev"]), "cluster \"a\" is there twice");
        assert_eq!(
            error(vec![cluster("a/b", 1)], &["dev"]),
            "cluster name \"a/b\" is empty or holds a slash"
        );
        assert_eq!(error(vec![cluster("", 1)], &["dev"]), "cluster name \"\" is empty or holds a slash");
        assert_eq!(error(vec![], &["dev", "dev"]), "role \"dev\" is there twice");
        assert_eq!(
            error(vec![Cluster { user_ca: Vec::new(), ..cluster("a", 1) }], &["dev"]),
            "cluster \"a\" has no user_ca key"
        );
        assert_eq!(
            error(vec![cluster("a", 1)], &["prod"]),
            "cluster \"a\": default_roles gives role \"dev\", which no role file defines"
        );
        assert_eq!(
            error(vec![Cluster { default_roles: Vec::new(), ..cluster("a", 1) }], &["dev"]),
            "cluster \"a\" takes its roles from default_roles, which is empty"
        );
    }

    #[test]
    fn default_roles_of_a_trusted_cluster_are_remote_roles() {
        let entry = RoleMapEntry { remote: "dev".into(), local: vec!["prod".into()] };
        let mapped = Cluster { role_map: Some(RoleMap::new(vec![entry]).unwrap()), ..cluster("a", 1) };
        assert!(Policy::new(vec![mapped.clone()], roles(&["prod"])).is_ok());
        assert_eq!(
            error(vec![mapped], &["dev"]),
            "cluster \"a\": default_roles gives role \"prod\", which no role file defines"
        );
    }

    #[test]
    fn default_roles_matter_only_where_roles_come_from_them() {
        let teleport = Cluster { roles_from: RolesFrom::Teleport, ..cluster("a", 1) };
        assert!(Policy::new(vec![teleport], roles(&[])).is_ok());
    }
}
