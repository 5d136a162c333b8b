//! `POST /v1/login`: from a password to a certificate.

use serde::{Deserialize, Serialize};

use crate::Vouched;

/// What somebody who logs in says.
#[derive(Clone, Serialize, Deserialize)]
pub struct LoginRequest {
    /// Who they say they are.
    pub user: String,
    /// And what shall prove it.
    pub password: String,
    /// The second factor's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The key to be certified, as OpenSSH has it.
    pub public_key: String,
    /// The authority's own statement of where it saw the same caller over the other family of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_observation: Option<String>,
}

/// What comes of it: 200. Else there is a [`crate::Refusal`]. The certificate is what counts; the rest tells of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Issued {
    /// The certificate, as OpenSSH has it.
    pub certificate: String,
    /// The certificate's key for knocks, base64: a secret of its holder's. Fleets without a secret for knocks give none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knock_key: Option<String>,
    /// Its serial number.
    pub serial: u64,
    /// The end of its validity, Unix seconds.
    pub ends_at: u64,
    /// Logins that it is good for.
    #[serde(default)]
    pub logins: Vec<String>,
    /// Roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The networks it is pinned to; empty: it is not.
    pub pinned: Vec<String>,
    /// Where the login came from, as far as somebody vouches for it.
    pub observed: Option<Vouched>,
    /// Where else: by the statement that the login brought, if it was asked for a pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_observed: Option<Vouched>,
}
