//! Marks of connections that the hook let pass without the agent having recorded a session.
//!
//! A mark is an empty file `unmanaged/<socket cookie>` in the runtime directory. The agent lists such
//! connections instead of cutting them as ones that never logged in, and removes the mark with the connection.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The directory of marks in the runtime directory, for root only.
pub const DIRECTORY: &str = "unmanaged";

/// Leaves a mark for the connection with this socket cookie, with the directories it needs.
pub fn mark(runtime_dir: &Path, cookie: u64) -> io::Result<()> {
    create_dir(runtime_dir, 0o755)?;
    create_dir(&runtime_dir.join(DIRECTORY), 0o700)?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path(runtime_dir, cookie))
        .map(drop)
}

/// The cookies of all marks, in no order. No directory: no marks.
pub fn list(runtime_dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(runtime_dir.join(DIRECTORY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let cookie = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.filter_map(|entry| entry.map(cookie).transpose()).collect()
}

/// Removes a mark; one that is not there is as good.
pub fn remove(runtime_dir: &Path, cookie: u64) -> io::Result<()> {
    match fs::remove_file(path(runtime_dir, cookie)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path(runtime_dir: &Path, cookie: u64) -> PathBuf {
    runtime_dir.join(DIRECTORY).join(cookie.to_string())
}

fn create_dir(dir: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn marks_are_left_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let runtime_dir = dir.path().join("run");
        assert_eq!(list(&runtime_dir).unwrap(), []);
        for cookie in [7, u64::MAX, 7] {
            mark(&runtime_dir, cookie).unwrap();
        }
        fs::write(runtime_dir.join(DIRECTORY).join("not a cookie"), "").unwrap();
        let mut cookies = list(&runtime_dir).unwrap();
        cookies.sort_unstable();
        assert_eq!(cookies, [7, u64::MAX]);
        assert_eq!(fs::metadata(runtime_dir.join(DIRECTORY)).unwrap().mode() & 0o777, 0o700);

        remove(&runtime_dir, 7).unwrap();
        remove(&runtime_dir, 7).unwrap();
        assert_eq!(list(&runtime_dir).unwrap(), [u64::MAX]);
    }
}
