//! `[authority]`: whose policy the node follows.

use super::ConfigError;
use super::file::{AuthorityTable, Keys};
use super::load::Source;
use cotter_api::{Place, PolicyKey, Trust};
use pinning::OnExpiry;
use std::path::PathBuf;

/// An authority that the node follows.
#[derive(Debug, Clone)]
pub struct FollowedAuthority {
    /// Where it is.
    pub place: Place,
    /// What makes its server the right one. Its policy is authentic by its signature, whoever hands it over.
    pub trust: Trust,
    /// Who may sign its policy.
    pub keys: Vec<PolicyKey>,
    /// Its cluster, if the configuration names it.
    pub cluster: Option<String>,
    /// What becomes of sessions when its certificates expire, unless a role decides.
    pub on_expiry: OnExpiry,
}

/// The last `[authority]` of the files, and the file with CAs that it names.
pub(super) fn authority(
    sources: &[Source],
) -> Result<Option<(FollowedAuthority, Option<PathBuf>)>, ConfigError> {
    let found = sources.iter().rev().find_map(|source| source.file.authority.as_ref().map(|it| (source, it)));
    let Some((source, spanned)) = found else { return Ok(None) };
    let table = spanned.as_ref();
    let place = table.url.get_ref().parse().map_err(|error| source.error(&table.url, error))?;
    let (trust, ca_file) = trust(source, table)?;
    let authority = FollowedAuthority {
        place,
        trust,
        keys: keys(source, table)?,
        cluster: table.cluster.clone(),
        on_expiry: table.on_expiry.unwrap_or(OnExpiry::Cut),
    };
    Ok(Some((authority, ca_file)))
}

fn keys(source: &Source, table: &AuthorityTable) -> Result<Vec<PolicyKey>, ConfigError> {
    let lines = match table.key.get_ref() {
        Keys::One(line) => std::slice::from_ref(line),
        Keys::Several(lines) if lines.is_empty() => {
            return Err(source.error(&table.key, "`key` is an empty list: no policy would be followed"));
        }
        Keys::Several(lines) => lines,
    };
    lines.iter().map(|line| line.parse().map_err(|error| source.error(&table.key, error))).collect()
}

fn trust(source: &Source, table: &AuthorityTable) -> Result<(Trust, Option<PathBuf>), ConfigError> {
    match (&table.fingerprint, &table.ca_file) {
        (Some(fingerprint), Some(_)) => {
            Err(source.error(fingerprint, "`fingerprint` and `ca_file` exclude each other"))
        }
        (Some(fingerprint), None) => {
            let known = fingerprint.get_ref().parse().map_err(|error| source.error(fingerprint, error))?;
            Ok((Trust::Fingerprint(known), None))
        }
        (None, Some(file)) => {
            let trust = Trust::of_file(&file.get_ref().to_string_lossy());
            Ok((trust.map_err(|error| source.error(file, error))?, Some(file.get_ref().clone())))
        }
        (None, None) => Ok((Trust::Anyone, None)),
    }
}
