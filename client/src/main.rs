//! `cotter`: logs in, and runs ssh.

use std::process::ExitCode;

use clap::Parser;
use cotter_client::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
