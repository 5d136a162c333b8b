//! What a guest is given to run: the package, the suite with the authority and the client, and the script that runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::cache;
use crate::{cargo, package, step};

/// A tar archive for the guest.
pub(crate) struct Payload {
    /// Where it lies.
    pub(crate) archive: PathBuf,
}

impl Payload {
    /// Builds all that is in it. With a `filter` the guest runs only tests whose names contain a part of it.
    pub(crate) fn build(filter: &[String]) -> Result<Self> {
        let directory = cache::directory().join("payload");
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
        }
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let copy = |from: &Path, name: &str| {
            fs::copy(from, directory.join(name)).map(drop).with_context(|| from.display().to_string())
        };
        let packages = package::run()?;
        for (package, name) in packages.iter().zip(["cotter.deb", "authority.deb", "client.deb"]) {
            copy(package, name)?;
        }
        if checks_the_node(filter) {
            package::next(&packages[0], &directory.join("cotter-next.deb"))?;
        }
        // Of the crate of the tests cargo builds more than what is asked for.
        let tests = built(&["test", "--no-run", "--package", "cotter-tests", "--test", "suite"])?;
        let suite = tests.iter().find(|(name, _)| name == "suite").context("cargo has built no suite")?;
        copy(&suite.1, "suite")?;
        // The package is the node's alone; the lab takes these from beside the suite.
        let others = ["build", "--bins", "--package", "cotter-authority", "--package", "cotter-client"];
        for (name, program) in built(&others)? {
            copy(&program, &name)?;
        }
        fs::write(directory.join("filter"), filter.join(" "))?;
        let archive = cache::directory().join("payload.tar");
        let mut tar = Command::new("tar");
        tar.arg("--create").arg("--file").arg(&archive).args(["--owner=0", "--group=0"]);
        tar.arg("-C").arg(&directory).arg(".");
        tar.arg("-C").arg(cargo::root()).arg("tests/vm/guest");
        step::run("tar: what the guests run", &mut tar)?;
        Ok(Self { archive })
    }
}

/// Whether the node is checked beside the suite, or alone.
pub(crate) fn checks_the_node(filter: &[String]) -> bool {
    filter.is_empty() || filter == ["node"]
}

/// Builds what the arguments say; the names and places of the executable files that come of it.
fn built(arguments: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut build = cargo::command();
    build.args(arguments).args(["--message-format", "json-render-diagnostics"]);
    let printed = step::run(&format!("cargo {}", arguments.join(" ")), &mut build)?;
    Ok(printed.lines().filter_map(executable).collect())
}

/// The executable file that a line of cargo's messages is about.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let file = Path::new(message.get("executable")?.as_str()?).to_owned();
    let name = message.get("target")?.get("name")?.as_str()?.to_owned();
    Some((name, file))
}
