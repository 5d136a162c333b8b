//! What an authority and its callers, clients and nodes, say to each other: JSON over HTTPS, and how to ask.
//!
//! Versions one apart work together. Who reads a message leaves aside what it does not know, and lives without what may come
//! new. Where leaving a part aside could allow more than was meant, the whole entry that it stands in is left out
//! ([`Entry`]), or with another [`FORMAT`] all rules are refused; locks count in any case.

#![forbid(unsafe_code)]

mod authority;
mod connect;
mod entry;
mod login;
mod observation;
mod place;
mod plain;
mod policy;
mod refusal;
mod rules;
mod trust;
mod user_ca;

pub use authority::{Authority, AuthorityError};
pub use connect::Family;
pub use entry::Entry;
pub use login::{Issued, LoginRequest};
pub use observation::{Observation, Statement, StatementRequest, Vouched};
pub use place::{Place, PlaceError};
pub use plain::plain;
pub use policy::{
    LONGEST_DOCUMENT, MOST_LOCKS, NAMESPACE, PolicyDocument, PolicyKey, PolicyKeyError, SignedPolicy,
    SignedPolicyError,
};
pub use refusal::Refusal;
pub use rules::{FORMAT, MappedRoles, RoleFile, Rules, RulesError, TrustedCluster};
pub use trust::{CaFileError, Fingerprint, FingerprintError, OtherFingerprint, Shown, Trust};
pub use user_ca::UserCa;
