//! Whom a certificate speaks for.

use serde::{Deserialize, Serialize};

use crate::Pins;

/// What a certificate says of its holder. A person is the pair of `cluster` and `key_id`, never one of them alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster whose authority signed it; `None` while the authority is not known to be trusted.
    pub cluster: Option<String>,
    /// The key id.
    pub key_id: String,
    /// The serial number; 0 if the authority does not number.
    pub serial: u64,
    /// The authority's key as `SHA256:…`.
    pub ca: String,
    /// The user's key as `SHA256:…`.
    pub key: String,
    /// The principals, in the certificate's order.
    pub principals: Vec<String>,
    /// The pinned addresses, if there is a valid `source-address`.
    pub pins: Option<Pins>,
    /// First second of validity, Unix time.
    pub valid_after: u64,
    /// First second behind it, Unix time; `u64::MAX` is forever.
    pub valid_before: u64,
}
