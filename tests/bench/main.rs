//! What Cotter costs, measured against its goals: packets through the kernel programs, logins, the time that a lock
//! takes.

/// Everything that is measured, round by round.
mod round;
/// What is measured in a round, under which names, and the goals that are made of it.
mod row;

/// A hundred thousand sessions in the kernel's maps.
mod crowd;
/// Packets through the kernel programs.
mod packets;
/// XDP programs run on a packet over and over, or on a wire.
mod program;
/// xdp-filter, to compare with.
mod xdp_filter;

/// Firewalls, to compare with.
mod firewall;
/// One packet over and over, from many addresses.
mod flood;
/// A port that only some may reach, under a flood.
mod gates;
/// Lookups in large tables.
mod lookups;
/// How long this machine's processors are busy receiving.
mod receiving;
/// Bytes through a relay, and others.
mod relays;
/// Datagrams to sockets.
mod sockets;

/// Logins through the authority, and what they are made of.
mod authority;
/// The same from a lock at the authority that a hundred agents follow.
mod followers;
/// From a lock to the first packet that is dropped.
mod locks;
/// Logins with and without the agent.
mod logins;
/// A node with one user, with or without the agent.
mod node;

/// The median of many figures, and how they spread.
mod figures;
/// What is shown and written.
mod report;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// How many rounds the goals are about.
const FEWEST: usize = 30;

/// Measures what Cotter costs.
#[derive(Parser)]
struct Options {
    /// The object with the kernel programs to compare with
    #[arg(long)]
    baseline: PathBuf,
    /// How often everything is measured
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Write every single figure to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail if a goal is missed
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match measure(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well: every goal met, or nobody asked.
fn measure(options: &Options) -> Result<bool> {
    ensure!(!options.check || options.rounds >= FEWEST, "--check is worth something from {FEWEST} rounds on");
    go_first()?;
    let rounds = round::run(&options.baseline, options.rounds)?;
    report::show(&rounds);
    if let Some(file) = &options.json {
        report::write(file, &rounds)?;
    }
    Ok(!options.check || row::GOALS.iter().all(|goal| goal.is_met(&rounds)))
}

/// Lets this process, and what it starts, run before everything else on the machine, whose other work would be measured
/// too.
fn go_first() -> Result<()> {
    let own = std::process::id().to_string();
    let status = Command::new("chrt").args(["--rr", "--pid", "1", &own]).status();
    ensure!(status.context("chrt (package util-linux)")?.success(), "no right to run before everything else");
    Ok(())
}
