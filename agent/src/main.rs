//! `cotter-agent`: the node's daemon and its command line.

use clap::Parser;
use cotter_agent::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    Cli::parse().run().into()
}
