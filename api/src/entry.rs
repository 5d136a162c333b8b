//! An entry of a list in what nodes follow, as far as it is understood.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An entry: one of a kind that comes later does not take the others with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry<T> {
    /// It is understood.
    Known(T),
    /// It is not.
    Unknown(Value),
}

impl<T> Entry<T> {
    /// The entry, if it is understood.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(entry) => Some(entry),
            Self::Unknown(_) => None,
        }
    }

    /// The name of one that is not understood, as far as it has one.
    pub(crate) fn unknown_name(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(value) => Some(value["name"].as_str().unwrap_or("without a name")),
        }
    }
}
