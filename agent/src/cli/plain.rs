//! Text that others have chosen (logins, key ids, names of devices), made fit for a terminal.

use serde::Serialize;
use std::borrow::Cow;

/// The text with a question mark, as `ls` and `ps` have it, for each character that a terminal would act upon.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(acts) {
        Cow::Owned(text.chars().map(|c| if acts(c) { '?' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// One JSON text, on one line or on several. JSON itself leaves some characters as they are on which terminals act; here
/// they are written as escapes, which mean the same.
pub(super) fn json(value: &impl Serialize, lines: Lines) -> String {
    let text = match lines {
        Lines::One => serde_json::to_string(value),
        Lines::Many => serde_json::to_string_pretty(value),
    };
    let text = text.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string());
    // A line end can only stand between values: within them it is an escape already.
    if !text.contains(|c| acts(c) && c != '\n') {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) && c != '\n' {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// How JSON is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// All of it on one.
    One,
    /// One a member.
    Many,
}

/// Control characters of both sets but the tab, line separators, and what changes the direction of the text around it.
fn acts(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "al\u{1b}[2Jice\r\n\u{9b}31m\u{202e}\u{7f}";

    #[test]
    fn what_a_terminal_would_act_upon_is_only_marked() {
        assert_eq!(plain(EVIL), "al?[2Jice???31m??");
        assert_eq!(plain("müller/アリス"), "müller/アリス");
    }

    #[test]
    fn json_means_the_same_and_has_nothing_that_a_terminal_acts_upon() {
        for lines in [Lines::One, Lines::Many] {
            let text = json(&serde_json::json!({ "user": EVIL, "login": "alice" }), lines);
            assert!(!text.contains(|c| acts(c) && c != '\n'), "{text:?}");
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read["user"], EVIL);
        }
    }
}
