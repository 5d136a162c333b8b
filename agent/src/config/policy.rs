//! Clusters, CA keys, role maps and role files: from their files to one `pinning::Policy`.

use super::ConfigError;
use super::file::ClusterTable;
use super::load::{Source, files_with_extension, read_text};
use pinning::{CaKey, Cluster, OnExpiry, Policy, PolicyError, Role, RoleMap, RolesFrom};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A field that is accepted and has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnusedField {
    /// The file it stands in.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The field, such as `spec.options.forward_agent`.
    pub field: String,
}

impl fmt::Display for UnusedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {} has no effect", self.file.display(), self.line, self.column, self.field)
    }
}

/// The policy, and what was read for it.
pub(super) struct PolicyFiles {
    pub(super) policy: Policy,
    pub(super) unused: Vec<UnusedField>,
    pub(super) files: Vec<PathBuf>,
    pub(super) user_ca_files: Vec<PathBuf>,
    pub(super) hash: String,
}

/// Reads everything that the sources name.
pub(super) fn load_policy(sources: &[Source], roles_dir: &Path) -> Result<PolicyFiles, ConfigError> {
    let principals_file = sources.iter().rev().find_map(|source| source.file.principals_file.as_ref());
    let mut reading =
        Reading { principals_file: principals_file.map(|file| file.as_ref().clone()), ..Reading::default() };
    for source in sources {
        reading.note(&source.path, &source.text);
    }
    let roles = reading.roles(roles_dir)?;
    let mut clusters = Vec::new();
    for source in sources {
        for table in &source.file.cluster {
            clusters.push(reading.cluster(source, table, false)?);
        }
        for table in &source.file.trusted_cluster {
            clusters.push(reading.cluster(source, table, true)?);
        }
    }
    let tables =
        sources.iter().flat_map(|source| source.file.cluster.iter().chain(&source.file.trusted_cluster));
    let user_ca_files = tables.map(|table| table.as_ref().user_ca.as_ref().clone()).collect();
    let policy = Policy::new(clusters, roles).map_err(|error| policy_error(sources, &error))?;
    let hash = reading.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(PolicyFiles { policy, unused: reading.unused, files: reading.files, user_ca_files, hash })
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    hash: Sha256,
    files: Vec<PathBuf>,
    unused: Vec<UnusedField>,
    /// Of clusters that do not name their own.
    principals_file: Option<String>,
}

impl Reading {
    /// Takes a file into the hash: name and content, each with its length, so that nothing runs together.
    fn note(&mut self, path: &Path, text: &str) {
        for part in [path.as_os_str().as_encoded_bytes(), text.as_bytes()] {
            self.hash.update((part.len() as u64).to_le_bytes());
            self.hash.update(part);
        }
        self.files.push(path.to_owned());
    }

    fn roles(&mut self, dir: &Path) -> Result<Vec<Role>, ConfigError> {
        let mut roles: Vec<Role> = Vec::new();
        for path in files_with_extension(dir, "yaml")? {
            let text = read_text(&path)?;
            self.note(&path, &text);
            for role in Role::parse_all(&text).map_err(|error| role_error(&path, &error))? {
                if roles.iter().any(|known| known.name == role.name) {
                    let message = format!("role \"{}\" is there twice", role.name);
                    return Err(role_error(
                        &path,
                        &pinning::RoleError { line: role.line, column: 1, what: message },
                    ));
                }
                self.unused.extend(role.without_effect.iter().map(|unused| UnusedField {
                    file: path.clone(),
                    line: number(unused.line),
                    column: number(unused.column),
                    field: unused.field.clone(),
                }));
                self.note_options_of_authorities(&path, &role);
                roles.push(role);
            }
        }
        Ok(roles)
    }

    /// Options of ours that concern login services alone.
    fn note_options_of_authorities(&mut self, path: &Path, role: &Role) {
        if role.options.require_second_factor {
            self.unused.push(UnusedField {
                file: path.to_owned(),
                line: number(role.line),
                column: 1,
                field: format!("spec.options.require_second_factor of role {}", role.name),
            });
        }
    }

    fn cluster(
        &mut self,
        source: &Source,
        table: &Spanned<ClusterTable>,
        trusted: bool,
    ) -> Result<Cluster, ConfigError> {
        let cluster = table.as_ref();
        let role_map = match (&cluster.role_map, trusted) {
            (None, true) => return Err(source.error(table, "a trusted cluster must have a role_map")),
            (Some(map), false) => return Err(source.error(map, "only a [[trusted_cluster]] has a role_map")),
            (None, false) => None,
            (Some(map), true) => {
                Some(RoleMap::new(map.as_ref().clone()).map_err(|error| source.error(map, error))?)
            }
        };
        self.note_unused_roles(source, cluster);
        Ok(Cluster {
            name: cluster.name.as_ref().clone(),
            user_ca: self.ca_keys(source, &cluster.user_ca)?,
            roles_from: cluster.roles_from,
            default_roles: cluster.default_roles.iter().map(|role| role.as_ref().clone()).collect(),
            role_map,
            on_expiry: cluster.on_expiry.unwrap_or_else(|| OnExpiry::from(cluster.roles_from)),
            principals_file: cluster
                .principals_file
                .as_ref()
                .map(|file| file.as_ref().clone())
                .or_else(|| self.principals_file.clone()),
        })
    }

    /// `default_roles` count only where roles come from there.
    fn note_unused_roles(&mut self, source: &Source, cluster: &ClusterTable) {
        let Some(first) = cluster.default_roles.first().filter(|_| cluster.roles_from != RolesFrom::Default)
        else {
            return;
        };
        let (line, column) = source.place(first);
        let field = format!("default_roles of cluster {}", cluster.name.as_ref());
        self.unused.push(UnusedField { file: source.path.clone(), line, column, field });
    }

    fn ca_keys(&mut self, source: &Source, path: &Spanned<PathBuf>) -> Result<Vec<CaKey>, ConfigError> {
        let file = path.as_ref();
        let text = read_text(file).map_err(|error| source.error(path, format!("user_ca {error}")))?;
        self.note(file, &text);
        CaKey::parse_all(&text).map_err(|error| ConfigError::of_file(file, error))
    }
}

/// The error at the name of the cluster that it is about; the later one if two are.
fn policy_error(sources: &[Source], error: &PolicyError) -> ConfigError {
    let name = match error {
        PolicyError::BadClusterName(name)
        | PolicyError::ClusterTwice(name)
        | PolicyError::NoCaKey(name)
        | PolicyError::NoDefaultRoles(name)
        | PolicyError::RoleTwice(name)
        | PolicyError::DefaultRoleUnknown { cluster: name, .. }
        | PolicyError::CaInTwoClusters { second: name, .. } => name,
    };
    let tables = sources.iter().flat_map(|source| {
        source
            .file
            .cluster
            .iter()
            .chain(&source.file.trusted_cluster)
            .map(move |table| (source, &table.as_ref().name))
    });
    match tables.filter(|(_, named)| named.as_ref() == name).reduce(|_, later| later) {
        Some((source, named)) => source.error(named, error),
        None => ConfigError::of_file(&sources[0].path, error),
    }
}

fn number(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn role_error(path: &Path, error: &pinning::RoleError) -> ConfigError {
    let place = (error.line > 0).then(|| (number(error.line), number(error.column)));
    ConfigError { file: path.to_owned(), place, message: error.what.clone() }
}
