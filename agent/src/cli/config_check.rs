//! `config check`: whether the configuration would be accepted, and what in it has no effect.

use super::exit::Failure;
use super::{Common, Exit, output};
use crate::config;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Load everything, report the first error with file, line and column
    Check,
}

pub(super) fn config(common: &Common, options: &Options) -> Result<Exit, Failure> {
    let Command::Check = options.command;
    let config = config::load(&common.config).map_err(Failure::usage)?;
    if common.json {
        let files: Vec<_> = config.files.iter().map(|file| file.display().to_string()).collect();
        output::json(&serde_json::json!({ "hash": config.hash, "files": files, "no_effect": config.unused }));
        return Ok(Exit::Done);
    }
    for field in &config.unused {
        output::line(&format!("{field}"));
    }
    if let Some(error) = &config.follow_error {
        output::line(&format!("the authority's policy that was kept does not count: {error}"));
    }
    for what in &config.left_out {
        output::line(&format!("{what} of the authority's policy is left out: this node's own files name it"));
    }
    let (clusters, roles) = (config.policy.clusters().len(), config.policy.roles().count());
    output::line(&format!(
        "ok: {clusters} clusters, {roles} roles, {} files, {}",
        config.files.len(),
        config.hash
    ));
    Ok(Exit::Done)
}
