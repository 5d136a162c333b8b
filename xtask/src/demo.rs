//! The story, played in namespaces of its own.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Needs};
use crate::{cargo, step};

/// What is told on the command line.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also show what sshd, the agent and the kernel wrote in the end
    #[arg(long)]
    logs: bool,
}

/// Sets up, builds and plays it; its exit code is that of the play.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if !setup::is_root() {
        bail!("the demo needs root: it makes network namespaces, runs sshd and loads kernel programs");
    }
    setup::run(Needs::Running)?;
    build()?;
    let mut play = cargo::command();
    play.args(["run", "--quiet", "--package", "cotter-tests", "--bin", "demo", "--"]);
    if options.logs {
        play.arg("--logs");
    }
    let status = play.status().context("cannot run the demo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the programs that are played with.
fn build() -> Result<()> {
    let mut build = cargo::command();
    build.arg("build");
    for package in ["cotter-agent", "cotter-authority", "cotter-client", "cotter-hook", "cotter-tests"] {
        build.args(["--package", package]);
    }
    step::run("cargo build: agent, kernel programs, hook, lab", &mut build).map(drop)
}
