//! `role`: what roles there are, and whether a file of them is right.

use std::path::PathBuf;

use clap::Subcommand;
use pinning::Role;
use serde_json::json;

use super::{Common, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the roles in force
    Ls,
    /// Check a file of roles
    Check {
        /// YAML
        file: PathBuf,
    },
}

pub(super) fn role(common: &Common, command: Command) -> Result<(), Failure> {
    match command {
        Command::Ls => {
            show(common, &common.load()?.roles().map_err(Failure::usage)?);
            Ok(())
        }
        Command::Check { file } => {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
            let roles = Role::parse_all(&text)
                .map_err(|error| Failure::refused(format!("{}:{error}", file.display())))?;
            show(common, &roles);
            Ok(())
        }
    }
}

fn show(common: &Common, roles: &[Role]) {
    for role in roles {
        let options = &role.options;
        let hours = options.max_session_ttl.map(|ttl| ttl.as_secs());
        if common.json {
            println!(
                "{}",
                json!({
                    "name": role.name, "pin_source_ip": options.pin_source_ip, "max_session_ttl": hours,
                    "require_second_factor": options.require_second_factor,
                    "without_effect": role.without_effect.iter().map(|it| &it.field).collect::<Vec<_>>(),
                })
            );
            continue;
        }
        println!("{}{}", role.name, if options.pin_source_ip { "  pins" } else { "" });
        for unused in &role.without_effect {
            println!("  {}:{} {} has no effect", unused.line, unused.column, unused.field);
        }
    }
}
