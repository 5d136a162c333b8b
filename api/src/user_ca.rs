//! `GET /v1/ca`: the keys that nodes trust.

use serde::{Deserialize, Serialize};

/// The public halves of the keys that sign certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCa {
    /// The cluster's name.
    pub cluster: String,
    /// As OpenSSH has them, the one that signs now first.
    pub user_ca: Vec<String>,
}
