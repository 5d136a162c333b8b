//! What strangers send, made up by libFuzzer: briefly with all other tests, for longer by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Needs};
use crate::{cargo, step};

/// A target, and how many runs of it take some seconds.
const TARGETS: [(&str, u32); 7] = [
    ("certificate", 8_000),
    ("forwarded-for", 400_000),
    ("hook-message", 1_000_000),
    ("knock", 20_000),
    ("proxy-header", 300_000),
    ("role-file", 20_000),
    ("signed-policy", 10_000),
];

/// The passes of the compiler that libFuzzer is steered by; all of them are for a stable one.
const COVERAGE: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
];

/// Where a single input is lost in thought, in seconds, and in memory, in MiB.
const LIMITS: [&str; 3] = ["-timeout=20", "-rss_limit_mb=1024", "-max_len=8192"];

/// What is told on the command line.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this target, of those in fuzz/README.md
    target: Option<String>,
    /// How long each target runs, such as 90s, 10m or 8h
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = duration)]
    time: Duration,
    /// Run this one input again instead
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
}

/// Runs what the options say; a finding makes it fail.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let chosen: Vec<&str> = TARGETS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| options.target.as_deref().is_none_or(|target| target == *name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        bail!("there is no such target; there are {}", names.join(", "));
    }
    setup::run(Needs::Fuzzing)?;
    let programs = build()?;
    for name in chosen {
        let target = Target::open(&programs, name)?;
        match &options.input {
            Some(input) => target.again(input)?,
            None => target.search(options.time)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs each target a fixed number of times on what the kept corpus leads to; how many passed, how many failed.
pub(crate) fn briefly() -> Result<(u64, u64)> {
    let programs = build()?;
    let (mut passed, mut failed) = (0, 0);
    for (name, runs) in TARGETS {
        match Target::open(&programs, name)?.repeat(runs) {
            Ok(()) => {
                println!("fuzz target {name} ... ok ({runs} runs)");
                passed += 1;
            }
            Err(error) => {
                println!("fuzz target {name} ... FAILED\n{error:#}");
                failed += 1;
            }
        }
    }
    Ok((passed, failed))
}

/// Builds the targets as libFuzzer needs them; the directory of the programs.
fn build() -> Result<PathBuf> {
    let triple = host()?;
    let mut build = cargo::command();
    build.args(["build", "--profile", "fuzz", "--package", "cotter-fuzz", "--target", &triple]);
    // They take the place of flags for all other builds, and what runs while it is built goes without.
    build.env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}")).env_remove("RUSTFLAGS");
    step::run("cargo build: fuzz targets", &mut build)?;
    Ok(cargo::target_directory()?.join(triple).join("fuzz"))
}

/// What this machine is called by its compiler.
fn host() -> Result<String> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&compiler).arg("-vV").output().context("cannot run rustc")?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

/// A target, and where it finds and leaves its inputs.
struct Target<'a> {
    name: &'a str,
    program: PathBuf,
    kept: PathBuf,
    found: PathBuf,
    crashes: PathBuf,
}

impl<'a> Target<'a> {
    fn open(programs: &Path, name: &'a str) -> Result<Self> {
        let own = cargo::target_directory()?.join("fuzzing");
        let (found, crashes) = (own.join("corpus").join(name), own.join("crashes").join(name));
        for directory in [&found, &crashes] {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        let kept = cargo::root().join("fuzz/corpus").join(name);
        Ok(Self { name, program: programs.join(format!("fuzz-{name}")), kept, found, crashes })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(LIMITS).arg(format!("-artifact_prefix={}/", self.crashes.display()));
        command
    }

    /// For so long, on from where the last search ended.
    fn search(&self, time: Duration) -> Result<()> {
        println!("xtask: fuzz target {}, for {} s", self.name, time.as_secs());
        let mut command = self.command();
        command.arg(format!("-max_total_time={}", time.as_secs())).args([&self.found, &self.kept]);
        let status = command.status().with_context(|| self.program.display().to_string())?;
        if status.success() { Ok(()) } else { bail!("{}", self.finding()) }
    }

    /// So often, always in the same way.
    fn repeat(&self, runs: u32) -> Result<()> {
        // Else it would write into the kept corpus.
        let fresh = self.found.with_extension("brief");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
        }
        fs::create_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
        let mut command = self.command();
        command.arg("-seed=1").arg(format!("-runs={runs}")).args([&fresh, &self.kept]).stdin(Stdio::null());
        let output = command.output().with_context(|| self.program.display().to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().collect();
        bail!("{}\n{}", lines[lines.len().saturating_sub(40)..].join("\n"), self.finding())
    }

    /// One input, once more.
    fn again(&self, input: &Path) -> Result<()> {
        let status = self.command().arg(input).status();
        let status = status.with_context(|| self.program.display().to_string())?;
        if status.success() { Ok(()) } else { bail!("{} breaks {}", input.display(), self.name) }
    }

    /// Where the last finding lies, and how to see it again.
    fn finding(&self) -> String {
        let files = fs::read_dir(&self.crashes).into_iter().flatten().flatten();
        let last = files.max_by_key(|file| file.metadata().and_then(|data| data.modified()).ok());
        match last {
            Some(file) => {
                let (path, name) = (file.path(), self.name);
                let path = path.display();
                format!(
                    "fuzz target {name} fails on {path}\nonce more: cargo xtask fuzz {name} --input {path}"
                )
            }
            None => format!("fuzz target {} ended without naming an input", self.name),
        }
    }
}

/// `90s`, `10m`, `8h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time such as 90s, 10m or 8h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_no_number| wrong())?;
    let seconds = count.checked_mul(factor).filter(|seconds| (1..=7 * 24 * 3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_all_else_is_not() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("8h"), Ok(Duration::from_secs(28_800)));
        for text in ["", "m", "10", "10d", "-1m", "0s", "1 m", "18446744073709551615h", "10µ"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_target_has_a_kept_corpus_and_every_corpus_a_target() {
        let there = fs::read_dir(cargo::root().join("fuzz/corpus")).unwrap();
        let mut there: Vec<String> =
            there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        there.sort();
        assert_eq!(there, TARGETS.map(|(name, _)| name));
    }
}
