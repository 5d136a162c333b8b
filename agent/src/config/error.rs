//! What is wrong with a configuration: file, line, column, and the sentence.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file in which it is wrong.
    pub file: PathBuf,
    /// Line and column, both counted from 1, where a place in the file can be named.
    pub place: Option<(usize, usize)>,
    /// What is wrong there, and what would be right.
    pub message: String,
}

impl ConfigError {
    /// An error of the file as a whole.
    pub(crate) fn of_file(file: &Path, message: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), place: None, message: message.to_string() }
    }

    /// An error at a span of bytes of the file's text.
    pub(super) fn at(file: &Path, text: &str, span: Range<usize>, message: impl fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            place: Some(line_and_column(text, span.start)),
            message: message.to_string(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

/// Where an offset of bytes lies in a text, both counted from 1.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_count_characters() {
        assert_eq!(line_and_column("a = 1", 0), (1, 1));
        assert_eq!(line_and_column("ä = 1\nb = ö", 9), (2, 3));
        assert_eq!(line_and_column("a", 99), (1, 2));
    }
}
