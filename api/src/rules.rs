//! What an authority's own files say that nodes are to go by: its keys, its roles, the clusters it trusts.

use pinning::{
    CaError, CaKey, Cluster, OnExpiry, Policy, PolicyError, Role, RoleError, RoleMap, RoleMapEntry,
    RoleMapError, RolesFrom,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Entry;

/// Of rules that can be understood only by who knows of what is new in them.
pub const FORMAT: u32 = 1;
/// Longest name that is told of what is not understood, in characters.
const LONGEST_NAME: usize = 64;

/// What stands in an authority's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// [`FORMAT`].
    #[serde(default = "first_format")]
    format: u32,
    /// The public halves of the keys that sign certificates, as OpenSSH has them, the one that signs now first.
    pub user_ca: Vec<String>,
    /// Files of roles.
    pub roles: Vec<Entry<RoleFile>>,
    /// Whose certificates count through a role map.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_clusters: Vec<Entry<TrustedCluster>>,
}

fn first_format() -> u32 {
    1
}

/// None.
impl Default for Rules {
    fn default() -> Self {
        Self { format: FORMAT, user_ca: Vec::new(), roles: Vec::new(), trusted_clusters: Vec::new() }
    }
}

/// A file of roles. With more in it than is known it is left out: what comes new may say of whom the roles are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleFile {
    /// Its name, for errors.
    pub name: String,
    /// YAML.
    pub text: String,
}

/// A cluster whose roles count only through a role map. With more in it than is known it is left out, like one with a word
/// that is not known: what comes new may say whom it does not trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    pub role_map: Vec<MappedRoles>,
    /// What becomes of sessions when their certificates expire; by default as `roles_from` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<OnExpiry>,
}

/// An entry of a role map, as [`RoleMapEntry`] has it. A map without one of its entries might lack the role that pins, so one
/// that is not understood takes its cluster with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappedRoles {
    /// See [`RoleMapEntry::remote`].
    pub remote: String,
    /// See [`RoleMapEntry::local`].
    pub local: Vec<String>,
}

impl From<RoleMapEntry> for MappedRoles {
    fn from(RoleMapEntry { remote, local }: RoleMapEntry) -> Self {
        Self { remote, local }
    }
}

impl From<MappedRoles> for RoleMapEntry {
    fn from(MappedRoles { remote, local }: MappedRoles) -> Self {
        Self { remote, local }
    }
}

/// Why rules make no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// They are for others.
    #[error("the rules have format {0}, and {FORMAT} is known: a newer version of this program is needed")]
    Format(u32),
    /// They are of another shape.
    #[error("the rules cannot be read: {0}")]
    Unreadable(String),
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
    /// Of these keys, role files and clusters.
    pub fn new(user_ca: Vec<String>, roles: Vec<RoleFile>, trusted: Vec<TrustedCluster>) -> Self {
        let roles = roles.into_iter().map(Entry::Known).collect();
        let trusted_clusters = trusted.into_iter().map(Entry::Known).collect();
        Self { format: FORMAT, user_ca, roles, trusted_clusters }
    }

    /// Reads them; what is left aside is in [`Rules::not_understood`].
    ///
    /// # Errors
    /// [`RulesError::Format`], [`RulesError::Unreadable`].
    pub fn read(raw: &Map<String, Value>) -> Result<Self, RulesError> {
        let unreadable = |error: serde_json::Error| RulesError::Unreadable(error.to_string());
        let format = raw.get("format").map_or(Ok(first_format()), u32::deserialize).map_err(unreadable)?;
        if format != FORMAT {
            return Err(RulesError::Format(format));
        }
        Self::deserialize(raw).map_err(unreadable)
    }

    /// As they stand in a document.
    ///
    /// # Errors
    /// [`RulesError::Unreadable`]; none comes to pass.
    pub fn raw(&self) -> Result<Map<String, Value>, RulesError> {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => Ok(members),
            Ok(other) => Err(RulesError::Unreadable(other.to_string())),
            Err(error) => Err(RulesError::Unreadable(error.to_string())),
        }
    }

    /// What is left out, in words: clusters and files of roles of a later version.
    pub fn not_understood(&self) -> Vec<String> {
        let clusters = self.trusted_clusters.iter().filter_map(Entry::unknown_name);
        let files = self.roles.iter().filter_map(Entry::unknown_name);
        let told = |what, name: &str| {
            let name: String = name.chars().take(LONGEST_NAME).collect();
            format!("{what} {name} (not understood)")
        };
        clusters.map(|name| told("cluster", name)).chain(files.map(|name| told("role file", name))).collect()
    }

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
        let trusted = self.trusted_clusters.iter().filter_map(Entry::known).map(TrustedCluster::cluster);
        std::iter::once(Ok(first)).chain(trusted).collect()
    }

    /// The roles of all files.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn roles(&self) -> Result<Vec<Role>, RulesError> {
        let mut roles = Vec::new();
        for file in self.roles.iter().filter_map(Entry::known) {
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
        let map = RoleMap::new(self.role_map.iter().cloned().map(RoleMapEntry::from).collect());
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
