//! The copy of the audit trail in a file: a full disk stops the file, never who writes.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file, opened again when a log rotation has moved it away.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    open: Option<File>,
    failing: bool,
}

impl EventFile {
    /// A file of this name, made when the first line comes.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None, failing: false }
    }

    /// Appends one line; the first of a row of failures is logged.
    pub fn append(&mut self, line: &str) {
        match self.try_append(line) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.open = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("{}: {error}; events go to the journal alone", self.path.display());
                }
            }
        }
    }

    fn try_append(&mut self, line: &str) -> std::io::Result<()> {
        if !self.is_current() {
            self.open = Some(OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path)?);
        }
        let Some(file) = &mut self.open else { return Ok(()) };
        let length = file.metadata()?.len();
        // Without room for all of a line, half of it would stay, and the next one become part of it.
        file.write_all(format!("{line}\n").as_bytes()).or_else(|error| file.set_len(length).and(Err(error)))
    }

    fn is_current(&self) -> bool {
        let Some(open) = &self.open else { return false };
        let (Ok(ours), Ok(named)) = (open.metadata(), std::fs::metadata(&self.path)) else { return false };
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
        let mut file = EventFile::at(&path);
        file.append("one");
        std::fs::rename(&path, &old).unwrap();
        file.append("two");
        assert_eq!(std::fs::read_to_string(old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "two\n");
    }

    #[test]
    fn a_full_disk_does_not_stop_who_writes() {
        let mut file = EventFile::at(Path::new("/dev/full"));
        file.append("lost");
        assert!(file.failing);
    }
}
