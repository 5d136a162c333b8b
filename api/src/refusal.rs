//! What is said instead of an answer, with a status of 400 or above.

use serde::{Deserialize, Deserializer, Serialize};

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The word for programs, such as `wrong` or `code_needed`.
    #[serde(deserialize_with = "plainly")]
    pub error: String,
    /// The words for people.
    #[serde(deserialize_with = "plainly")]
    pub message: String,
}

fn plainly<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| plain(&text))
}

/// A text of one line as it may go to a terminal: whoever stands in the authority's place must not steer that.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|it| if steers(it) { '?' } else { it }).collect()
}

/// Control characters, and those that turn the direction of what follows.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
