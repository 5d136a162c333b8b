//! Files with secrets: made whole or not at all, for their owner alone.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown, lchown};
use std::path::{Path, PathBuf};

/// Makes a directory for its owner alone, and those above it, where they are missing.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    hand_over(&File::open(path)?, path)
}

/// Makes an empty file for its owner alone; what is there stays (`AlreadyExists`).
pub(crate) fn make_empty(path: &Path) -> io::Result<()> {
    hand_over(&OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?, path)
}

/// What root makes in somebody else's directory is to be theirs: an administrator's command leaves nothing that the
/// authority itself cannot use.
fn hand_over(made: &File, path: &Path) -> io::Result<()> {
    match heir(&made.metadata()?, path)? {
        Some((uid, gid)) => fchown(made, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// The same of what cannot be opened, such as a socket; never of what a link points to.
pub(crate) fn hand_over_socket(path: &Path) -> io::Result<()> {
    match heir(&fs::symlink_metadata(path)?, path)? {
        Some((uid, gid)) => lchown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

fn heir(made: &Metadata, path: &Path) -> io::Result<Option<(u32, u32)>> {
    let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) else { return Ok(None) };
    let above = fs::metadata(above)?;
    Ok((made.uid() == 0 && above.uid() != 0).then(|| (above.uid(), above.gid())))
}

/// Writes a file that is not there yet, with this mode, through to the disk; what is there stays (`AlreadyExists`).
pub(crate) fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    make_directory(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    let staged = stage(path, content, mode)?;
    // A link, unlike a rename, replaces nothing.
    let linked = fs::hard_link(&staged, path);
    fs::remove_file(&staged)?;
    linked?;
    sync_directory_of(path)
}

/// Replaces a file at once, or makes it, with this mode.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    fs::rename(stage(path, content, mode)?, path)?;
    sync_directory_of(path)
}

/// Writes it beside its place. What lies there is no file of ours, or what we left when we were killed: never followed.
fn stage(path: &Path, content: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&staged)?;
    hand_over(&file, path)?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(staged)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_what_is_new_is_its_owners() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/secret");
        write_new(&path, b"one", 0o600).unwrap();
        assert_eq!(write_new(&path, b"two", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path().join("deep")).unwrap().count(), 1);
        // What somebody has planted beside it is not written through.
        let planted = directory.path().join("elsewhere");
        fs::write(&planted, b"theirs").unwrap();
        std::os::unix::fs::symlink(&planted, directory.path().join("deep/secret.new")).unwrap();
        replace(&path, b"three", 0o600).unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read(&planted).unwrap()),
            (b"three".into(), b"theirs".into())
        );
    }
}
