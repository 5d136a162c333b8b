//! What an authority's own files say that nodes are to go by: its keys, its roles, the clusters it trusts.

use pinning::{
    CaError, CaKey, Cluster, OnExpiry, Policy, PolicyError, Role, RoleMap, RoleMapEntry, RoleMapError,
};
use pinning::{RoleError, RolesFrom};
use serde::{Deserialize, Serialize};

/// What stands in an authority's files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rules {
    /// The public halves of the keys that sign certificates, as OpenSSH has them, the one that signs now first.
    pub user_ca: Vec<String>,
    /// Files of roles.
    pub roles: Vec<RoleFile>,
    /// Whose certificates count through a role map.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_clusters: Vec<TrustedCluster>,
}

/// A file of roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleFile {
    /// Its name, for errors.
    pub name: String,
    /// YAML.
    pub text: String,
}

/// A cluster whose roles count only through a role map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedCluster {
    /// Its name.
    pub name: String,
    /// Its keys, as OpenSSH has them.
    pub user_ca: Vec<String>,
    /// Where its roles come from.
    pub roles_from: RolesFrom,
    /// Its roles, where they come from here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_roles: Vec<String>,
    /// From its roles to those of the leaf.
    pub role_map: Vec<RoleMapEntry>,
    /// What becomes of sessions when their certificates expire; by default as `roles_from` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<OnExpiry>,
}

/// Why rules make no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// A key is none.
    #[error("user_ca of cluster {0:?}: {1}")]
    Key(String, CaError),
    /// A role is wrong.
    #[error("{0}:{1}")]
    Role(String, RoleError),
    /// A role map is wrong.
    #[error("role_map of cluster {0:?}: {1}")]
    Map(String, RoleMapError),
    /// They do not go together.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Rules {
    /// The clusters: the authority's own, which has this name, first. Sessions of its own certificates end with them.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn clusters(&self, own: &str) -> Result<Vec<Cluster>, RulesError> {
        let first = Cluster {
            name: own.to_owned(),
            user_ca: keys(own, &self.user_ca)?,
            roles_from: RolesFrom::Cotter,
            default_roles: Vec::new(),
            role_map: None,
            on_expiry: OnExpiry::from(RolesFrom::Cotter),
            principals_file: None,
        };
        let trusted = self.trusted_clusters.iter().map(TrustedCluster::cluster);
        std::iter::once(Ok(first)).chain(trusted).collect()
    }

    /// The roles of all files.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn roles(&self) -> Result<Vec<Role>, RulesError> {
        let mut roles = Vec::new();
        for file in &self.roles {
            let found =
                Role::parse_all(&file.text).map_err(|why| RulesError::Role(file.name.clone(), why))?;
            roles.extend(found);
        }
        Ok(roles)
    }

    /// All of it together, as a node that has nothing else goes by it.
    ///
    /// # Errors
    /// The first thing that is wrong or does not fit.
    pub fn policy(&self, own: &str) -> Result<Policy, RulesError> {
        Ok(Policy::new(self.clusters(own)?, self.roles()?)?)
    }
}

impl TrustedCluster {
    fn cluster(&self) -> Result<Cluster, RulesError> {
        let map = RoleMap::new(self.role_map.clone());
        Ok(Cluster {
            name: self.name.clone(),
            user_ca: keys(&self.name, &self.user_ca)?,
            roles_from: self.roles_from,
            default_roles: self.default_roles.clone(),
            role_map: Some(map.map_err(|why| RulesError::Map(self.name.clone(), why))?),
            on_expiry: self.on_expiry.unwrap_or_else(|| self.roles_from.into()),
            principals_file: None,
        })
    }
}

fn keys(cluster: &str, lines: &[String]) -> Result<Vec<CaKey>, RulesError> {
    CaKey::parse_all(&lines.join("\n")).map_err(|why| RulesError::Key(cluster.to_owned(), why))
}
