//! The copy of the audit trail in a file: a full disk stops the file, never the agent.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file of JSON lines, opened again when a log rotation has moved it away.
#[derive(Debug)]
pub(super) struct EventFile {
    path: Option<PathBuf>,
    open: Option<File>,
    failing: bool,
}

impl EventFile {
    pub(super) fn new(path: Option<&Path>) -> Self {
        Self { path: path.map(Path::to_owned), open: None, failing: false }
    }

    /// Appends one line; the first of a row of failures is logged.
    pub(super) fn append(&mut self, line: &str) {
        let Some(path) = self.path.clone() else { return };
        match self.try_append(&path, line) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.open = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("event log {}: {error}; events go to the journal alone", path.display());
                }
            }
        }
    }

    fn try_append(&mut self, path: &Path, line: &str) -> std::io::Result<()> {
        if !self.is_current(path) {
            self.open = Some(OpenOptions::new().create(true).append(true).mode(0o640).open(path)?);
        }
        match &mut self.open {
            Some(file) => file.write_all(format!("{line}\n").as_bytes()),
            None => Ok(()),
        }
    }

    fn is_current(&self, path: &Path) -> bool {
        let Some(open) = &self.open else { return false };
        let (Ok(ours), Ok(named)) = (open.metadata(), std::fs::metadata(path)) else { return false };
        ours.ino() == named.ino() && ours.dev() == named.dev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_is_left_alone_and_a_new_one_begun() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("events"), dir.path().join("events.1"));
        let mut file = EventFile::new(Some(&path));
        file.append("one");
        std::fs::rename(&path, &old).unwrap();
        file.append("two");
        assert_eq!(std::fs::read_to_string(old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "two\n");
    }

    #[test]
    fn a_full_disk_does_not_stop_the_agent() {
        let mut file = EventFile::new(Some(Path::new("/dev/full")));
        file.append("lost");
        assert!(file.failing);
    }
}
