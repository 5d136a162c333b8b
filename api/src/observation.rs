//! `GET /v1/observed`: where the authority sees its caller; and `POST /v1/observations`: its statement of that, for a login
//! over the other family of addresses.

use pinning::{Address, Observed};
use serde::{Deserialize, Serialize};

use crate::plain;

/// An address and how it was observed; both are missing if nobody vouches for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The address.
    pub address: Option<Address>,
    /// And how, in the words of [`pinning::How`], to which a later version adds.
    #[serde(default, deserialize_with = "plain::option")]
    pub how: Option<String>,
}

impl From<Option<Observed>> for Observation {
    fn from(observed: Option<Observed>) -> Self {
        let (address, how) = observed.map(|observed| (observed.address, observed.how.to_string())).unzip();
        Self { address, how }
    }
}

/// An address that somebody vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// The address.
    pub address: Address,
    /// How it was observed, as [`Observation::how`].
    #[serde(deserialize_with = "plain::text")]
    pub how: String,
}

impl From<Observed> for Vouched {
    fn from(observed: Observed) -> Self {
        Self { address: observed.address, how: observed.how.to_string() }
    }
}

/// Asks for a statement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatementRequest {
    /// The key that is to be certified, as OpenSSH has it: the statement counts for no other.
    pub public_key: String,
}

/// Where the authority saw its caller, in its own word.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Statement {
    /// The same for people.
    #[serde(flatten)]
    pub observation: Observation,
    /// What [`crate::LoginRequest::other_observation`] takes, soon and once; `None`: nobody vouches for the address.
    pub token: Option<String>,
}
