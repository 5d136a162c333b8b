//! What was built once and is used until what builds it changes.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use crate::cargo;

/// The directory of all that virtual machines need and leave behind; removing it gets the newest packages.
pub(crate) fn directory() -> PathBuf {
    cargo::root().join("target/vm")
}

/// One run at a time: waits until no other uses the directory. It is free again when what is returned is dropped.
pub(crate) fn lock() -> Result<File> {
    let directory = directory();
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let lock = File::create(directory.join("lock"))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        println!("xtask: another run has virtual machines; waiting for its end");
        flock(&lock, FlockOperation::LockExclusive)?;
    }
    Ok(lock)
}

/// The thing called `name` that `recipe` makes: as it lies there, or made by `make` at the path that is given to it.
/// What an earlier recipe made under the same name is removed.
pub(crate) fn thing(
    name: &str,
    recipe: impl Hash,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let directory = directory();
    let path = directory.join(format!("{name}-{:016x}", hasher.finish()));
    if path.exists() {
        return Ok(path);
    }
    remove_all(&directory, &format!("{name}-"))?;
    // Whatever is interrupted never lies under the final name.
    let unfinished = directory.join(format!("{name}-unfinished"));
    make(&unfinished)?;
    fs::rename(&unfinished, &path).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn remove_all(directory: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let path = entry.path();
        let removed =
            if entry.file_type()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}
