//! Whether the tests notice when the rules are changed: cargo-mutants on the packages that decide.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cargo;
use crate::setup::{self, Needs};

/// The packages that decide; `.cargo/mutants.toml` lists what of them is left out, and why.
const PACKAGES: [&str; 2] = ["agent-ebpf", "pinning"];

/// What is told on the command line.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this package
    #[arg(long, value_parser = PACKAGES)]
    package: Option<String>,
    /// Only files whose paths match this pattern
    #[arg(long, value_name = "GLOB")]
    file: Option<String>,
}

/// Runs them; fails if one survives that nobody explained.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    setup::run(Needs::Mutating)?;
    let mut mutants = cargo::command();
    // Two at once: linking and testing one leaves room to compile the other.
    mutants.args(["mutants", "--colors", "auto", "--jobs", "2"]);
    for package in PACKAGES.iter().filter(|name| options.package.as_deref().is_none_or(|only| only == **name))
    {
        mutants.args(["--package", package]);
    }
    if let Some(pattern) = &options.file {
        mutants.args(["--file", pattern]);
    }
    let status = mutants.status().context("cannot run cargo-mutants")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
