//! Clusters: whose user certificates are accepted, and where their roles come from.

use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;

use crate::RoleMap;
use crate::certificate::fingerprint;

/// Where the roles of a cluster's certificates come from. Fixed per cluster, never guessed from a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RolesFrom {
    /// The extension `roles@cotter`: a JSON array.
    Cotter,
    /// The extension `teleport-roles`: a JSON object with an array `roles`.
    Teleport,
    /// The cluster's `default_roles`, whatever the certificate says.
    Default,
}

/// What becomes of a session when its certificate expires, unless a role decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExpiry {
    /// It is cut at that second.
    Cut,
    /// It goes on.
    Keep,
}

impl From<RolesFrom> for OnExpiry {
    /// The default: certificates of our own authority end their sessions; elsewhere fleets use minutes-long
    /// certificates for day-long sessions.
    fn from(roles_from: RolesFrom) -> Self {
        match roles_from {
            RolesFrom::Cotter => Self::Cut,
            RolesFrom::Teleport | RolesFrom::Default => Self::Keep,
        }
    }
}

/// The public key of an authority.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CaKey {
    wire: Vec<u8>,
}

/// Why a file of authority keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaError {
    /// A line is no public key.
    #[error("line {line}: not an OpenSSH public key: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What `ssh_key` says.
        why: String,
    },
    /// The file holds no key at all.
    #[error("holds no public key")]
    Empty,
}

impl CaKey {
    /// Reads OpenSSH public keys, one a line, as in sshd's `TrustedUserCAKeys`; blank lines and lines that begin with
    /// `#` are skipped.
    ///
    /// # Errors
    /// The first line that is no public key, or that there is none.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, CaError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let unreadable =
                |error: ssh_key::Error| CaError::Line { line: index + 1, why: error.to_string() };
            let key = Self {
                wire: PublicKey::from_openssh(line).and_then(|key| key.to_bytes()).map_err(unreadable)?,
            };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if keys.is_empty() { Err(CaError::Empty) } else { Ok(keys) }
    }

    /// The key in wire format, as certificates carry it.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// The line that it was read from, without a comment.
    pub fn line(&self) -> String {
        // What was read can be written.
        PublicKey::from_bytes(&self.wire).and_then(|key| key.to_openssh()).unwrap_or_default()
    }

    /// `SHA256:…`, as OpenSSH prints it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.wire)
    }
}

/// A cluster or trusted cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name: the first half of a person's name (`CLUSTER/KEYID`), so without a slash.
    pub name: String,
    /// The keys of its user authority.
    pub user_ca: Vec<CaKey>,
    /// Where roles come from.
    pub roles_from: RolesFrom,
    /// The roles under [`RolesFrom::Default`]; without effect otherwise.
    pub default_roles: Vec<String>,
    /// Of a trusted cluster: how its roles become local ones. Roles from anywhere, `default_roles` included, then count
    /// only through the map.
    pub role_map: Option<RoleMap>,
    /// What becomes of sessions when their certificates expire.
    pub on_expiry: OnExpiry,
    /// Where principals are not login names: the template of sshd's own kind of file, such as
    /// `/etc/ssh/auth_principals/%u`.
    pub principals_file: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_certificate::Authority;

    #[test]
    fn a_file_of_keys_is_read_as_sshd_reads_it() {
        let (first, second) = (Authority::seeded(1).public_line(), Authority::seeded(2).public_line());
        let keys =
            CaKey::parse_all(&format!("# ours\n\n{first} comment here\r\n  {second}\n{first}\n")).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[1].line(), second.trim());
        assert!(keys[0].fingerprint().starts_with("SHA256:"));
    }

    #[test]
    fn errors_name_the_line() {
        let key = Authority::seeded(1).public_line();
        let error = CaKey::parse_all(&format!("{key}\nssh-ed25519 AAAA\n")).unwrap_err();
        assert!(error.to_string().starts_with("line 2: not an OpenSSH public key: "), "{error}");
        assert_eq!(CaKey::parse_all("# none\n"), Err(CaError::Empty));
    }

    #[test]
    fn a_certificate_is_no_authority() {
        let certificate = Authority::seeded(1).certificate().text();
        assert!(matches!(CaKey::parse_all(&certificate), Err(CaError::Line { line: 1, .. })));
    }

    #[test]
    fn only_our_own_authority_ends_sessions_by_default() {
        assert_eq!(OnExpiry::from(RolesFrom::Cotter), OnExpiry::Cut);
        assert_eq!(OnExpiry::from(RolesFrom::Teleport), OnExpiry::Keep);
        assert_eq!(OnExpiry::from(RolesFrom::Default), OnExpiry::Keep);
    }
}
