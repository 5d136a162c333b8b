//! Format, clippy for host and kernel, licences, advisories and sources.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::setup::{self, DEBIAN_CLIPPY, Needs};
use crate::toolchain::Core;
use crate::{cargo, step};

/// Checks all of them; the first that is not content ends it.
pub(crate) fn run() -> Result<ExitCode> {
    setup::run(Needs::Linting)?;
    step::run("cargo fmt --check", cargo::command().args(["fmt", "--all", "--check"]))?;
    step::run(
        "cargo clippy, host crates",
        cargo::command().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    )?;
    step::run("clippy, kernel programs", &mut kernel_clippy()?)?;
    let policy = ["deny", "check", "bans", "licenses", "sources"];
    step::run("cargo deny check bans licenses sources", cargo::command().args(policy))?;
    advisories()?;
    println!("xtask: lint passed");
    Ok(ExitCode::SUCCESS)
}

/// Clippy with the compiler that builds the kernel programs.
fn kernel_clippy() -> Result<Command> {
    let toolchain = setup::toolchain()?;
    let crate_arguments = ["--package", "agent-ebpf", "--features", "bpf", "--bins"];
    let from_source = toolchain.core == Core::BuiltFromSource;
    let subcommand = if from_source { "clippy" } else { "check" };
    let mut command = toolchain.cargo(subcommand, setup::target(), std::env::consts::ARCH);
    command.args(crate_arguments).args(["--target-dir", "target/kernel-clippy"]).current_dir(cargo::root());
    if from_source {
        command.args(["--", "-D", "warnings"]);
    } else {
        // What `cargo clippy` does, with the driver that belongs to Debian's compiler.
        command
            .env("RUSTC_WORKSPACE_WRAPPER", DEBIAN_CLIPPY)
            .env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
    }
    Ok(command)
}

/// Known security faults of our dependencies. Their list is a git repository; where it cannot be had, an older copy
/// does, and where there is none, that is said: it is no fault of the code that is checked.
fn advisories() -> Result<()> {
    let fetch =
        step::run("cargo deny fetch: the advisory list", cargo::command().args(["deny", "fetch", "db"]));
    let mut check = cargo::command();
    check.arg("deny");
    if let Err(error) = fetch {
        let reason = error.to_string();
        println!(
            "xtask: WARNING: the advisory list cannot be fetched: {}",
            reason.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default()
        );
        if !has_advisory_list() {
            println!(
                "xtask: WARNING: advisories were NOT checked: there is no older copy of the list either"
            );
            return Ok(());
        }
        println!("xtask: WARNING: advisories are checked against an older copy of the list");
        check.arg("--offline");
    }
    step::run("cargo deny check advisories", check.args(["check", "advisories"])).map(drop)
}

fn has_advisory_list() -> bool {
    let home = std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from).or(home);
    let lists = cargo_home.and_then(|home| home.join("advisory-dbs").read_dir().ok());
    lists.into_iter().flatten().flatten().any(|list| list.path().join("crates").is_dir())
}
