//! Reading a file of bounded size; one that decides something must be root's alone.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Why a file is not believed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened or read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("not a regular file")]
    NotRegular,
    /// Someone other than root could have written it.
    #[error("not root's, or writable by group or others")]
    NotRoots,
    /// It has more bytes than such a file ever needs.
    #[error("larger than {max} bytes")]
    TooLarge {
        /// The bound.
        max: u64,
    },
}

impl FileError {
    /// Whether the file simply is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Read(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// The content of a regular file of root's that nobody else can write, at most `max` bytes.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let (file, metadata) = open(path)?;
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err(FileError::NotRoots);
    }
    content(file, max)
}

/// The content of a regular file, whoever's it is, at most `max` bytes.
pub fn read_anyones(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    content(open(path)?.0, max)
}

fn open(path: &Path) -> Result<(File, Metadata), FileError> {
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(FileError::NotRegular) }
}

fn content(file: File, max: u64) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|len| len <= max) {
        Ok(content)
    } else {
        Err(FileError::TooLarge { max })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_what_is_roots_alone_and_small_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(read(&path, 4).unwrap_err().is_missing());

        fs::write(&path, "1234").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"1234");
        assert!(matches!(read(&path, 3), Err(FileError::TooLarge { max: 3 })));
        assert!(matches!(read(dir.path(), 4), Err(FileError::NotRegular)));

        for mode in [0o664, 0o646] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path, 4), Err(FileError::NotRoots)), "{mode:o}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        assert!(matches!(read(&path, 4), Err(FileError::NotRoots)));
        assert_eq!(read_anyones(&path, 4).unwrap(), b"1234");
        assert!(matches!(read_anyones(&path, 3), Err(FileError::TooLarge { max: 3 })));
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(read(&path, 4), Err(FileError::NotRegular)));
        assert!(matches!(read_anyones(&path, 4), Err(FileError::NotRegular)));
    }
}
