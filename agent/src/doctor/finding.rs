//! A finding: what was looked at, how it is, and what to do about it.

use serde::Serialize;

/// How a finding is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is as it should be.
    Ok,
    /// Cotter works, but less well than it could, or somebody should know.
    Warning,
    /// Cotter does not work, or can be passed by.
    Error,
}

impl Level {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One line of the doctor's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, for scripts: a word that stays the same from version to version.
    pub id: &'static str,
    /// How it is meant.
    pub level: Level,
    /// What was found, in one line.
    pub what: String,
    /// What to do; there is always something unless all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(id: &'static str, what: impl AsRef<str>) -> Self {
        Self { id, level: Level::Ok, what: gist(what.as_ref()), remedy: None }
    }

    pub(super) fn warning(id: &'static str, what: impl AsRef<str>, remedy: impl Into<String>) -> Self {
        Self { id, level: Level::Warning, what: gist(what.as_ref()), remedy: Some(remedy.into()) }
    }

    pub(super) fn error(id: &'static str, what: impl AsRef<str>, remedy: impl Into<String>) -> Self {
        Self { id, level: Level::Error, what: gist(what.as_ref()), remedy: Some(remedy.into()) }
    }
}

/// One line of a text: of many lines, such as the verifier's, the first, and the last that is not its summary.
fn gist(text: &str) -> String {
    let summary = |line: &&str| line.starts_with("processed ") || line.starts_with("verification time");
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !summary(line));
    match (lines.next().unwrap_or_default(), lines.next_back()) {
        (first, None) => first.to_owned(),
        (first, Some(last)) => format!("{first} … {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_verifiers_log_the_complaint_is_left() {
        let log = "program x: the kernel does not take it: Verifier output: 0: (b7) r0 = 1\n1: (95) exit\n\nR1 !read_ok\n\
                   processed 2 insns (limit 1000000)\nverification time 3 usec\n";
        let expected =
            "program x: the kernel does not take it: Verifier output: 0: (b7) r0 = 1 … R1 !read_ok";
        assert_eq!(gist(log), expected);
        assert_eq!(gist("one line"), "one line");
    }
}
