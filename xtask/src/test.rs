//! Every test there is, summed up in one line.

mod again;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::setup::{self, Needs};
use crate::{cargo, fuzz, step};
use again::Again;

/// What builds everything there is to test; with the same features of the same crates as `cargo test --workspace`.
const ALL: [&str; 3] = ["build", "--workspace", "--all-targets"];

/// What is told on the command line.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only tests whose names contain this
    filter: Option<String>,
}

/// What the test programs said of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Sets up, builds, runs all tests and closes with `N passed, N failed`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if !setup::is_root() {
        bail!("the tests need root: they make network namespaces, run sshd and load kernel programs");
    }
    setup::run(Needs::Running)?;
    build_all()?;
    let (mut sum, success) = run_tests(options)?;
    if !success && sum.failed == 0 {
        println!(
            "xtask: a test program could not be built, or ended without its result; that counts as one failure"
        );
        sum.failed = 1;
    }
    if options.filter.is_none() {
        let (passed, failed) = fuzz::briefly()?;
        sum.passed += passed;
        sum.failed += failed;
    }
    if sum.ignored > 0 {
        println!("xtask: {} ignored", sum.ignored);
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(if success && sum.failed == 0 && sum.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds all tests, and the programs that the suite runs, which `cargo test` alone does not.
pub(crate) fn build_all() -> Result<()> {
    let mut build = cargo::command();
    build.args(ALL);
    step::run("cargo build: agent, kernel programs, authority, client, tests", &mut build).map(drop)
}

/// An executable file that cargo has built.
pub(crate) struct Executable {
    pub(crate) name: String,
    /// Of a program or a test.
    pub(crate) is_test: bool,
    pub(crate) file: PathBuf,
}

/// What `build_all` has built.
pub(crate) fn built() -> Result<Vec<Executable>> {
    let output = cargo::command().args(ALL).args(["--message-format", "json"]).output()?;
    if !output.status.success() {
        bail!("cargo build: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(executable).collect())
}

/// The executable file that a line of cargo's messages is about.
fn executable(line: &str) -> Option<Executable> {
    let message: Value = serde_json::from_str(line).ok()?;
    let file = Path::new(message.get("executable")?.as_str()?).to_owned();
    let name = message.get("target")?.get("name")?.as_str()?.to_owned();
    let is_test = message.get("profile")?.get("test")?.as_bool()?;
    Some(Executable { name, is_test, file })
}

/// Runs the tests, those that have an authority on each of its storages; what came of them, and whether cargo was content.
fn run_tests(options: &Options) -> Result<(Sum, bool)> {
    let mut sum = Sum::default();
    let mut test = cargo::command();
    test.args(["test", "--workspace", "--no-fail-fast", "--"]).args(&options.filter);
    let mut success = sum.stream(test)?;
    match Again::of(options.filter.as_deref()) {
        Ok(again) => {
            if let Some(test) = again.command() {
                println!("xtask: {}", again.title());
                success &= sum.stream(test)?;
            }
        }
        Err(error) => {
            println!("xtask: {error:#}");
            success = false;
        }
    }
    Ok((sum, success))
}

impl Sum {
    /// Streams the output of tests and adds their results; whether all was well.
    fn stream(&mut self, mut test: Command) -> Result<bool> {
        let mut child = test.stdout(Stdio::piped()).spawn().context("cannot run cargo test")?;
        let output = child.stdout.take().context("cargo test without output")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.add(&line);
        }
        Ok(child.wait()?.success())
    }

    /// Adds a line such as `test result: ok. 6 passed; 0 failed; 1 ignored; …`; others are nothing to it.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let counts = result.split_once(". ").map_or("", |(_, counts)| counts);
        for part in counts.split("; ") {
            let Some((count, word)) = part.split_once(' ') else { continue };
            let count = count.parse().unwrap_or(0);
            match word {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_are_summed() {
        let mut sum = Sum::default();
        sum.add(
            "test result: ok. 6 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.90s",
        );
        sum.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        sum.add("test lab::says_test_result ... ok");
        assert_eq!(sum, Sum { passed: 10, failed: 2, ignored: 1 });
    }
}
