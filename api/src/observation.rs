//! `GET /v1/observed`: where the authority sees its caller.

use pinning::{Address, How, Observed};
use serde::{Deserialize, Serialize};

/// An address and how it was observed; both are missing if nobody vouches for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The address.
    pub address: Option<Address>,
    /// And how.
    pub how: Option<How>,
}

impl From<Option<Observed>> for Observation {
    fn from(observed: Option<Observed>) -> Self {
        let (address, how) = observed.map(|observed| (observed.address, observed.how)).unzip();
        Self { address, how }
    }
}
