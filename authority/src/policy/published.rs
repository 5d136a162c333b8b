//! What this authority has published last of its files: beside others on one storage, one that only starts again must not
//! undo what they have published since.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;

/// A file in the state directory.
#[derive(Debug, Clone)]
pub struct LastPublished(PathBuf);

/// What stands in it.
#[derive(Serialize, Deserialize)]
struct Content {
    /// The policy's version with it.
    version: u64,
    /// The rules, as they were published.
    rules: String,
}

impl LastPublished {
    /// Of the authority with this state directory.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self(state_dir.join("published.json"))
    }

    /// Whether these are the rules, and the storage has not gone back behind them: one that was put back to an earlier day
    /// holds what this authority had replaced.
    pub(super) fn is(&self, rules: &str, version: u64) -> bool {
        // What cannot be read says nothing.
        let last = fs::read(&self.0).ok().and_then(|text| serde_json::from_slice::<Content>(&text).ok());
        last.is_some_and(|last| last.rules == rules && last.version <= version)
    }

    pub(super) fn set(&self, rules: &str, version: u64) -> io::Result<()> {
        let content = Content { version, rules: rules.to_owned() };
        files::replace(&self.0, &serde_json::to_vec(&content)?, 0o600)
    }
}
