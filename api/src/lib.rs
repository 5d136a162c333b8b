//! What an authority and its callers, clients and nodes, say to each other: JSON over HTTPS, and how to ask.
//!
//! Versions one apart work together: who reads a message ignores fields that it does not know, and a field that comes new
//! may be missing.

#![forbid(unsafe_code)]

mod authority;
mod connect;
mod login;
mod observation;
mod place;
mod policy;
mod refusal;
mod rules;
mod trust;
mod user_ca;

pub use authority::{Authority, AuthorityError};
pub use connect::Family;
pub use login::{Issued, LoginRequest};
pub use observation::{Observation, Statement, StatementRequest};
pub use place::{Place, PlaceError};
pub use policy::{
    FORMAT, LONGEST_DOCUMENT, LockEntry, MOST_LOCKS, NAMESPACE, PolicyDocument, PolicyKey, PolicyKeyError,
    SignedPolicy, SignedPolicyError,
};
pub use refusal::{Refusal, plain};
pub use rules::{RoleFile, Rules, RulesError, TrustedCluster};
pub use trust::{CaFileError, Fingerprint, FingerprintError, OtherFingerprint, Shown, Trust};
pub use user_ca::UserCa;
