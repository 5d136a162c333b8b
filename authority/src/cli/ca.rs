//! `ca`: the public halves of the keys that sign.

use clap::Subcommand;

use super::{Common, Failure};
use crate::ca::CaKeys;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the public keys, one a line, the one that signs first
    Export,
}

pub(super) fn ca(common: &Common, command: &Command) -> Result<(), Failure> {
    let Command::Export = command;
    let keys = CaKeys::load(&common.load()?.ca_keys).map_err(Failure::usage)?;
    let lines = keys.public_lines().map_err(Failure::refused)?;
    if common.json {
        println!("{}", serde_json::json!(lines.lines().collect::<Vec<_>>()));
    } else {
        print!("{lines}");
    }
    Ok(())
}
