//! What this authority has published last of its files: beside others on one storage, one that only starts again must not
//! undo what they have published since.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files;

/// A file in the state directory, with the rules as they were published.
#[derive(Debug, Clone)]
pub struct LastPublished(PathBuf);

impl LastPublished {
    /// Of the authority with this state directory.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self(state_dir.join("published.json"))
    }

    /// Whether these are the rules.
    pub(super) fn is(&self, rules: &str) -> bool {
        // What cannot be read says nothing.
        fs::read_to_string(&self.0).is_ok_and(|last| last == rules)
    }

    pub(super) fn set(&self, rules: &str) -> io::Result<()> {
        files::replace(&self.0, rules.as_bytes(), 0o600)
    }
}
