//! Why a login was allowed or denied: one closed list of reasons, each with its name and its advice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The reason of a login's verdict. `NoCertificate` and `TableFull` are also given by the agent itself: for a login by
/// another method under `other_logins = "deny"`, and when a session finds no room in the kernel's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "explain() says what each reason means")]
pub enum LoginReason {
    Allowed,
    PinMissing,
    PinTooWide,
    PinMismatch,
    ObservedAddressUnknown,
    NoRoles,
    RoleUnknown,
    PrincipalNotAllowed,
    CertificateExpired,
    CertificateNotYetValid,
    NotAUserCertificate,
    CaUntrusted,
    SignatureInvalid,
    CriticalOptionUnknown,
    SourceAddressInvalid,
    MalformedCertificate,
    NoCertificate,
    Locked,
    TableFull,
}

impl LoginReason {
    /// All reasons, in the order of the documentation.
    pub const ALL: [Self; 19] = [
        Self::Allowed,
        Self::PinMissing,
        Self::PinTooWide,
        Self::PinMismatch,
        Self::ObservedAddressUnknown,
        Self::NoRoles,
        Self::RoleUnknown,
        Self::PrincipalNotAllowed,
        Self::CertificateExpired,
        Self::CertificateNotYetValid,
        Self::NotAUserCertificate,
        Self::CaUntrusted,
        Self::SignatureInvalid,
        Self::CriticalOptionUnknown,
        Self::SourceAddressInvalid,
        Self::MalformedCertificate,
        Self::NoCertificate,
        Self::Locked,
        Self::TableFull,
    ];

    /// The reason as it stands in events, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::PinMissing => "pin_missing",
            Self::PinTooWide => "pin_too_wide",
            Self::PinMismatch => "pin_mismatch",
            Self::ObservedAddressUnknown => "observed_address_unknown",
            Self::NoRoles => "no_roles",
            Self::RoleUnknown => "role_unknown",
            Self::PrincipalNotAllowed => "principal_not_allowed",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateNotYetValid => "certificate_not_yet_valid",
            Self::NotAUserCertificate => "not_a_user_certificate",
            Self::CaUntrusted => "ca_untrusted",
            Self::SignatureInvalid => "signature_invalid",
            Self::CriticalOptionUnknown => "critical_option_unknown",
            Self::SourceAddressInvalid => "source_address_invalid",
            Self::MalformedCertificate => "malformed_certificate",
            Self::NoCertificate => "no_certificate",
            Self::Locked => "locked",
            Self::TableFull => "table_full",
        }
    }

    /// One sentence for a person: what it means, and what to do about it.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Allowed => "the login is allowed",
            Self::PinMissing => {
                "a role demands a pinned address and the certificate carries none: log in again to get a pinned certificate"
            }
            Self::PinTooWide => {
                "the certificate is pinned to more addresses than its roles allow: have one issued for a single address, or widen the role's pin_width"
            }
            Self::PinMismatch => {
                "the certificate is pinned to another address than the one you come from: log in again from here"
            }
            Self::ObservedAddressUnknown => {
                "the address you come from could not be established, and the login depends on it: connect without an untrusted proxy between"
            }
            Self::NoRoles => {
                "the certificate leaves no role on this node: ask for a role, or check the cluster's default_roles or role_map"
            }
            Self::RoleUnknown => {
                "the certificate names a role that this node does not know: add the role's file to roles_dir and reload"
            }
            Self::PrincipalNotAllowed => {
                "the certificate or its roles do not allow this login name: use another login, or ask for it to be added"
            }
            Self::CertificateExpired => "the certificate has expired: log in again",
            Self::CertificateNotYetValid => {
                "the certificate is not valid yet: check the clocks of this node and of the authority"
            }
            Self::NotAUserCertificate => "this is a host certificate: use a user certificate",
            Self::CaUntrusted => {
                "the certificate was signed by an authority that no configured cluster trusts: check the cluster's user_ca"
            }
            Self::SignatureInvalid => {
                "the authority's signature does not fit the certificate: it was altered or damaged; log in again"
            }
            Self::CriticalOptionUnknown => {
                "the certificate carries a critical option that this node does not know and so must not honour: have it issued without"
            }
            Self::SourceAddressInvalid => {
                "the certificate's source-address is not a list of addresses or networks: have it issued anew"
            }
            Self::MalformedCertificate => "the certificate cannot be read: have it issued anew",
            Self::NoCertificate => {
                "the login came without a certificate, and this node demands one: log in to get a certificate"
            }
            Self::Locked => {
                "a lock is in force for this user, login, certificate or address: ask an administrator"
            }
            Self::TableFull => {
                "the node has no room for another session: end sessions, or ask an administrator for more room"
            }
        }
    }
}

impl LoginReason {
    /// What to do about it: the end of [`Self::explain`]'s sentence, for where it was said already what is wrong.
    pub fn remedy(self) -> Option<&'static str> {
        self.explain().split_once(": ").map(|(_what, remedy)| remedy)
    }
}

impl fmt::Display for LoginReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A text that names no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a login reason")]
pub struct ReasonError(String);

impl FromStr for LoginReason {
    type Err = ReasonError;

    fn from_str(text: &str) -> Result<Self, ReasonError> {
        let unknown = || ReasonError(text.chars().take(64).collect());
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_and_has_advice() {
        let names: std::collections::BTreeSet<_> =
            LoginReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), 19);
        for reason in LoginReason::ALL {
            assert_eq!(reason.to_string().parse::<LoginReason>().unwrap(), reason);
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
            assert!(reason.explain().len() > 15, "{reason}");
            let remedy = reason.remedy().map(|remedy| format!(": {remedy}"));
            assert_eq!(remedy.is_none(), reason == LoginReason::Allowed, "{reason}");
            assert!(remedy.is_none_or(|remedy| reason.explain().ends_with(&remedy)), "{reason}");
        }
        assert_eq!("nope".parse::<LoginReason>().unwrap_err().to_string(), "\"nope\" is not a login reason");
    }
}
