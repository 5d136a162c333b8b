//! What is said instead of an answer, with a status of 400 or above.

use serde::{Deserialize, Serialize};

use crate::plain;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The word for programs, such as `wrong` or `code_needed`; a later version knows more of them.
    #[serde(deserialize_with = "plain::text")]
    pub error: String,
    /// The words for people.
    #[serde(deserialize_with = "plain::text")]
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_do_not_steer_the_terminal() {
        let said = r#"{"error": "wrong\u001b[2J", "message": "no\u202e\u009b way, \u00e9"}"#;
        let refusal: Refusal = serde_json::from_str(said).unwrap();
        assert_eq!((refusal.error.as_str(), refusal.message.as_str()), ("wrong?[2J", "no?? way, \u{e9}"));
    }
}
