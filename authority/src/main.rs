//! `cotter-authority`: the login service and its command line.

use std::process::ExitCode;

use clap::Parser;
use cotter_authority::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
