//! The Debian packages: binaries, manual pages and completions built for release, and packed by cargo-deb.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::{self, Needs};
use crate::{cargo, step};

/// Whose packages there are: the node's, the authority's, the client's.
const PACKAGES: [&str; 3] = ["cotter-packaging", "cotter-authority", "cotter-client"];

/// How the programs in the packages are built.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    /// As they are installed.
    Release,
    /// As for tests, whose build (`test::build_all`) comes before.
    Dev,
}

impl Profile {
    /// Its name to cargo.
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }

    /// Where in the target directory cargo puts what it builds.
    fn directory(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }
}

/// Builds the packages, has lintian look them over, and says where they lie; the node's comes first.
pub(crate) fn run(profile: Profile) -> Result<Vec<PathBuf>> {
    setup::run(Needs::Packaging)?;
    build(profile)?;
    PACKAGES.into_iter().map(|package| pack(package, profile)).collect()
}

/// Packs what is built.
fn pack(package: &str, profile: Profile) -> Result<PathBuf> {
    let mut deb = cargo::command();
    deb.args(["deb", "--no-build", "--strip", "--profile", profile.name(), "--package", package]);
    let printed = step::run(&format!("cargo deb {package}"), &mut deb)?;
    // Its last word is the package's path.
    let package =
        printed.lines().rev().find(|line| line.ends_with(".deb")).context("cargo deb made nothing")?;
    let package = PathBuf::from(package.trim());
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--tag-display-limit", "0"]).arg(&package);
    step::run("lintian", &mut lintian)?;
    println!("xtask: {}", package.display());
    Ok(package)
}

/// A later version of the package, at `later`: the same, but for an agent whose maps are of the next version.
pub(crate) fn next(package: &Path, later: &Path) -> Result<()> {
    let mut build = cargo::command();
    // Not for release, and with the features that all crates together ask for, a test's too: the tests have built most of it
    // like this anyway.
    build.args(["build", "--workspace", "--bin", "cotter-agent", "--test", "verdict"]);
    build.args(["--features", "agent-ebpf/next-abi"]);
    step::run("cargo build: agent with the next ABI", &mut build)?;
    let replace = r#"
        directory=$(mktemp -d)
        trap 'rm -rf "$directory"' EXIT
        dpkg-deb -R "$1" "$directory"
        strip -o "$directory/usr/sbin/cotter-agent" "$2"
        sed -i 's/^Version: .*/&+next/' "$directory/DEBIAN/control"
        dpkg-deb -b -Znone "$directory" "$3"
    "#;
    let mut shell = Command::new("sh");
    shell.args(["-euc", replace, "sh"]).arg(package);
    shell.arg(cargo::target_directory()?.join("debug/cotter-agent")).arg(later);
    step::run("dpkg-deb: the next version of the package", &mut shell).map(drop)
}

/// Builds everything that `packaging/Cargo.toml` names below `target/release`, which is another directory for another
/// profile.
fn build(profile: Profile) -> Result<()> {
    if let Profile::Release = profile {
        release()?;
    }
    // Linked statically: it runs in an environment that PAM made.
    let mut hook = cargo::command();
    hook.args(["rustc", "--profile", profile.name(), "--package", "cotter-hook", "--bin", "cotter-hook"]);
    hook.args(["--", "-C", "target-feature=+crt-static"]);
    step::run(&format!("cargo build ({}): hook", profile.name()), &mut hook)?;
    let directory = cargo::target_directory()?.join(profile.directory());
    step::run("manual pages and completions", pages(profile, &directory).arg(directory.join("pages")))?;
    // The day it was made is no part of it.
    let pack = "gzip -9nf \"$0\"/man?/*.[18]";
    step::run("gzip", Command::new("sh").args(["-c", pack]).arg(directory.join("pages"))).map(drop)
}

/// The program that writes manual pages and completions, to where it is told.
fn pages(profile: Profile, directory: &Path) -> Command {
    match profile {
        Profile::Dev => Command::new(directory.join("cotter-pages")),
        Profile::Release => {
            let mut run = cargo::command();
            // Not for release: the tests have built the libraries like this anyway.
            run.args(["run", "--package", "cotter-packaging", "--"]);
            run
        }
    }
}

/// Builds the programs for release.
fn release() -> Result<()> {
    let mut build = cargo::command();
    build.args(["build", "--release"]);
    for package in ["cotter-agent", "cotter-authority", "cotter-client"] {
        build.args(["--package", package]);
    }
    step::run("cargo build --release: agent, kernel programs, authority, client (some minutes)", &mut build)
        .map(drop)
}
