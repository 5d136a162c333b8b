//! The shape of an audit event: one JSON object a decision, as on nodes.

use std::path::PathBuf;

use cotter_api::Vouched;
use pinning::Observed;
use serde::Serialize;

/// One decision, as it is written to the journal and the file.
#[derive(Debug, Serialize)]
pub(super) struct Event<'e> {
    /// When, RFC 3339 in UTC with milliseconds.
    pub(super) time: String,
    /// The host's name.
    pub(super) node: &'e str,
    /// The authority's cluster.
    pub(super) cluster: &'e str,
    #[serde(flatten)]
    pub(super) what: What,
    #[serde(flatten)]
    pub(super) subject: Subject,
}

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum What {
    /// The authority is ready.
    AuthorityStarted,
    /// The authority ends.
    AuthorityStopped,
    /// Somebody has proven who they are, and their roles give them a certificate.
    LoginAllowed,
    /// A login came to nothing.
    LoginDenied {
        /// The word for it, as in the answer.
        reason: &'static str,
        /// More words; also what the answer does not tell.
        error: String,
    },
    /// Somebody may not read what nodes follow.
    PolicyDenied {
        /// The word for it, as in the answer.
        reason: &'static str,
        /// More words.
        error: String,
    },
    /// More denials of one source than are reported one by one.
    DenialsSuppressed {
        /// How many since the last report.
        count: u64,
    },
    /// Lines that the journal or the event log was too slow for.
    LinesLost {
        /// How many since the last report.
        count: u64,
    },
    /// A certificate was signed.
    CertificateIssued {
        /// The fingerprint of the certified key.
        key: String,
        /// Principals.
        logins: Vec<String>,
        /// The end of its validity, Unix seconds.
        ends_at: u64,
    },
    /// Somebody was added who may log in.
    UserAdded {
        /// Their own logins.
        logins: Vec<String>,
    },
    /// Somebody was given other roles or logins.
    UserChanged {
        /// Their own logins, now.
        logins: Vec<String>,
    },
    /// Somebody was removed.
    UserRemoved,
    /// Somebody is kept from logging in.
    UserLocked,
    /// Somebody may log in again.
    UserUnlocked,
    /// Somebody has another password.
    PasswordChanged,
    /// Somebody has a second factor, or another one.
    SecondFactorSet,
    /// Somebody has no second factor any more.
    SecondFactorRemoved,
    /// A role's file was written; the next reload puts it in force.
    RoleApplied {
        /// The file.
        file: PathBuf,
    },
    /// A key that can sign was made.
    CaKeyMade {
        /// Its file.
        file: PathBuf,
    },
    /// A secret for knocks was made.
    KnockSecretMade {
        /// Its file.
        file: PathBuf,
    },
    /// Roles that are published differ from those before, at a start or a reload.
    RolesChanged {
        /// Names of new ones.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        added: Vec<String>,
        /// Names of those that say something else.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        changed: Vec<String>,
        /// Names of those that are gone.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        removed: Vec<String>,
    },
    /// Somebody has laid a lock.
    Locked {
        /// Its id.
        lock: String,
        /// Who or what is locked.
        target: String,
        /// Why, in an administrator's words.
        #[serde(skip_serializing_if = "String::is_empty")]
        comment: String,
    },
    /// Somebody has taken a lock away.
    Unlocked {
        /// Its id.
        lock: String,
    },
    /// Nodes get another policy.
    PolicyPublished {
        /// Its version.
        version: u64,
    },
    /// A configuration came into force.
    Reloaded {
        /// The roles in force.
        roles: Vec<String>,
        /// Fingerprints of the keys, that of the one that signs first.
        ca_keys: Vec<String>,
    },
    /// A configuration was refused; the old one stays in force.
    ReloadFailed {
        /// Why.
        error: String,
    },
}

/// Whom an event concerns, as far as it is known.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Subject {
    /// The key id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The certificate's serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<u64>,
    /// The CA key's SHA-256 fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
    /// Roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<String>,
    /// The pinned networks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pinned: Vec<String>,
    /// The observed address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) observed: Option<String>,
    /// How it was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) observed_how: Option<String>,
    /// The address in the other family, if it was observed too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) other_observed: Option<String>,
    /// How that was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) other_observed_how: Option<String>,
}

impl Subject {
    pub(crate) fn user(name: &str) -> Self {
        Self { user: Some(name.to_owned()), ..Self::default() }
    }

    pub(crate) fn seen(self, observed: Option<&Observed>) -> Self {
        Self {
            observed: observed.map(|observed| observed.address.to_string()),
            observed_how: observed.map(|observed| observed.how.to_string()),
            ..self
        }
    }

    pub(crate) fn also_seen(self, other: Option<&Vouched>) -> Self {
        Self {
            other_observed: other.map(|other| other.address.to_string()),
            other_observed_how: other.map(|other| other.how.clone()),
            ..self
        }
    }
}
