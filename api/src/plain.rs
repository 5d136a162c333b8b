//! Texts that go to a terminal as they are: whoever stands in the authority's place must not steer that.

use serde::{Deserialize, Deserializer};

/// A text.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| plain(&text))
}

/// A text that may be missing.
pub(crate) fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(|text| plain(&text)))
}

/// A text of one line as it may go to a terminal.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|it| if steers(it) { '?' } else { it }).collect()
}

/// Control characters, and those that turn the direction of what follows.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
