//! Cargo, as it was called to run the tasks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// The cargo that runs this task, in the workspace's root and without what it told the task by the environment: it
/// would make other builds of this task believe that something has changed.
pub(crate) fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = command().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata = String::from_utf8_lossy(&metadata.stdout);
    let (_, path) =
        metadata.split_once("\"target_directory\":\"").context("cargo metadata names no target")?;
    Ok(path.split('"').next().unwrap_or_default().into())
}
