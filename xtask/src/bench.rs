//! What Cotter costs, measured against its goals.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Needs};
use crate::{cargo, step};

/// Where the kernel programs to compare with are built, in the workspace.
const BASELINE: &str = "target/kernel-bench";

/// What is told on the command line.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often everything is measured; the goals are about 30 times at least
    #[arg(long)]
    rounds: Option<u32>,
    /// Write every single figure to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail if a goal is missed
    #[arg(long)]
    check: bool,
}

/// Sets up, builds optimised, measures; the exit code says whether all is well.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if !setup::is_root() {
        bail!("the bench needs root: it makes network namespaces, runs sshd and loads kernel programs");
    }
    setup::run(Needs::Measuring)?;
    build()?;
    let baseline = build_baseline()?;
    let mut bench = cargo::command();
    bench.args(["run", "--quiet", "--release", "--package", "cotter-tests", "--bin", "bench", "--"]);
    bench.arg("--baseline").arg(baseline).args(options.arguments()?);
    let status = bench.status().context("cannot run the bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds as packages are built.
fn build() -> Result<()> {
    let mut build = cargo::command();
    build.args(["build", "--release", "--bins"]);
    for package in ["cotter-agent", "cotter-authority", "cotter-client", "cotter-hook", "cotter-tests"] {
        build.args(["--package", package]);
    }
    step::run("cargo build --release: agent, kernel programs, hook, authority, client, bench", &mut build)
        .map(drop)
}

/// Builds the kernel programs to compare with; the path of their object.
fn build_baseline() -> Result<PathBuf> {
    let target = setup::target();
    let mut build = setup::toolchain()?.cargo("build", target, std::env::consts::ARCH);
    build.args(["--package", "agent-ebpf", "--features", "bpf", "--bin", "cotter-bench-ebpf"]);
    build.args(["--target-dir", BASELINE]).current_dir(cargo::root());
    step::run("cargo build: kernel programs to compare with", &mut build)?;
    Ok(cargo::root().join(BASELINE).join(target).join("release/cotter-bench-ebpf"))
}

impl Options {
    /// The same for the bench itself, which runs in another directory.
    fn arguments(&self) -> Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(rounds) = self.rounds {
            arguments.extend(["--rounds".into(), rounds.to_string().into()]);
        }
        if let Some(file) = &self.json {
            arguments.extend(["--json".into(), std::path::absolute(file)?.into()]);
        }
        if self.check {
            arguments.push("--check".into());
        }
        Ok(arguments)
    }
}
