//! `cotter`: logs in, and runs ssh.

use std::process::ExitCode;

use cotter_client::cli::Cli;

fn main() -> ExitCode {
    Cli::read(std::env::args_os()).run()
}
