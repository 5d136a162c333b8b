//! What is said instead of an answer, with a status of 400 or above.

use serde::{Deserialize, Serialize};

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The word for programs, such as `wrong` or `code_needed`.
    pub error: String,
    /// The words for people.
    pub message: String,
}
