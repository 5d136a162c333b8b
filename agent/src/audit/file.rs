//! The copy of the audit trail in a file: a full disk stops the file, never the agent.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Lines that may wait for the disk; beyond, they go to the journal alone.
const WAITING: usize = 4096;

/// A file of JSON lines, written by a thread of its own, so that a disk that hangs hangs nobody else.
#[derive(Debug)]
pub(super) struct EventFile {
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
}

impl EventFile {
    pub(super) fn new(path: Option<&Path>) -> Self {
        let Some(path) = path else { return Self { lines: None, writer: None } };
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let mut file = Writer { path: path.to_owned(), open: None, failing: false };
        let spawned = thread::Builder::new().name("event-log".to_owned()).spawn(move || {
            for line in waiting {
                file.append(&line);
            }
        });
        let writer = spawned.inspect_err(|error| tracing::error!("{}: not written: {error}", path.display()));
        Self { lines: Some(lines), writer: writer.ok() }
    }

    /// Hands one line to the writer; one that finds the queue full is lost to the file, not to the journal.
    pub(super) fn append(&self, line: &str) {
        if let Some(lines) = &self.lines {
            let _lost = lines.try_send(line.to_owned());
        }
    }
}

impl Drop for EventFile {
    /// Waits until what was handed over is written.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the event log's writer has panicked");
        }
    }
}

/// The file, opened again when a log rotation has moved it away.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    open: Option<File>,
    failing: bool,
}

impl Writer {
    /// Appends one line; the first of a row of failures is logged.
    fn append(&mut self, line: &str) {
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
        match &mut self.open {
            Some(file) => file.write_all(format!("{line}\n").as_bytes()),
            None => Ok(()),
        }
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
        let mut file = Writer { path: path.clone(), open: None, failing: false };
        file.append("one");
        std::fs::rename(&path, &old).unwrap();
        file.append("two");
        assert_eq!(std::fs::read_to_string(old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "two\n");
    }

    #[test]
    fn a_full_disk_does_not_stop_the_agent() {
        let mut file = Writer { path: "/dev/full".into(), open: None, failing: false };
        file.append("lost");
        assert!(file.failing);
    }

    #[test]
    fn what_was_handed_over_is_written_before_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let file = EventFile::new(Some(&path));
        (0..1000).for_each(|number| file.append(&number.to_string()));
        drop(file);
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1000);
    }
}
