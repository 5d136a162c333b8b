//! What a guest is given to run: the package, the suite with the authority and the client, and the script that runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;
use crate::package::{self, Profile};
use crate::{cargo, step, test};

/// A tar archive for the guest.
pub(crate) struct Payload {
    /// Where it lies.
    pub(crate) archive: PathBuf,
}

impl Payload {
    /// Builds all that is in it. With a `filter` the guest runs only tests whose names contain a part of it; where it is to be
    /// `brief`, the packages are built as tests are.
    pub(crate) fn build(filter: &[String], brief: bool) -> Result<Self> {
        let directory = cache::directory().join("payload");
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
        }
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let copy = |from: &Path, name: &str| {
            fs::copy(from, directory.join(name)).map(drop).with_context(|| from.display().to_string())
        };
        test::build_all()?;
        let packages = package::run(if brief { Profile::Dev } else { Profile::Release })?;
        for (package, name) in packages.iter().zip(["cotter.deb", "authority.deb", "client.deb"]) {
            copy(package, name)?;
        }
        if checks_the_node(filter) {
            package::next(&packages[0], &directory.join("cotter-next.deb"))?;
        }
        // The package is the node's alone; the lab takes the others from beside the suite.
        let built = test::built()?;
        for (name, is_test) in [("suite", true), ("cotter-authority", false), ("cotter", false)] {
            let one = built.iter().find(|one| one.name == name && one.is_test == is_test);
            copy(&one.with_context(|| format!("cargo has built no {name}"))?.file, name)?;
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
