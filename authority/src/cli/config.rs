//! `config check`: whether the authority would start, or reload, with what the files say.

use clap::Subcommand;
use serde_json::json;

use super::{Common, Failure};
use crate::ca::CaKeys;
use crate::knock_secret;
use crate::tls::Tls;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read the configuration and all that it names, as a reload does; the first thing that is wrong is named
    Check,
}

pub(super) fn config(common: &Common, command: &Command) -> Result<(), Failure> {
    let Command::Check = command;
    let config = common.load()?;
    let roles = config.roles().map_err(Failure::usage)?;
    let keys = CaKeys::load(&config.ca_keys).map_err(Failure::usage)?;
    config.rules(&keys.public_lines().map_err(Failure::usage)?).map_err(Failure::usage)?;
    config.knock_secret.as_deref().map(knock_secret::read).transpose().map_err(Failure::usage)?;
    // One of our own making is made when it is needed.
    if config.tls.is_some() {
        Tls::load(&config).map_err(Failure::usage)?;
    }
    if common.json {
        let keys: Vec<String> = keys.fingerprints().map(|key| key.to_string()).collect();
        let roles: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
        println!("{}", json!({ "name": config.name, "roles": roles, "ca_keys": keys }));
    } else {
        println!("{}: right, with {} roles", common.config.display(), roles.len());
    }
    Ok(())
}
