//! `role`: what roles there are, whether a file of them is right, and putting one in its place.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use pinning::Role;
use serde_json::json;

use super::{Common, Failure};
use crate::audit::{Subject, What};
use crate::config::{Config, read_roles};
use crate::files;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the roles in force
    Ls,
    /// Check a file of roles
    Check {
        /// YAML
        file: PathBuf,
    },
    /// Put the role of a file among the others, or in the place of the one of its name; a reload puts it in force
    Apply {
        /// YAML, of one role
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
            let roles = Role::parse_all(&read(&file)?)
                .map_err(|error| Failure::refused(format!("{}:{error}", file.display())))?;
            show(common, &roles);
            Ok(())
        }
        Command::Apply { file } => apply(common, &file),
    }
}

/// Writes the role's file only if all roles are right with it.
fn apply(common: &Common, file: &Path) -> Result<(), Failure> {
    let config = common.load()?;
    let given = [(file.to_owned(), read(file)?)];
    let [(_, role)] = &read_roles(&given).map_err(Failure::refused)?[..] else {
        return Err(Failure::refused(format!("{}: one role a file can be applied", file.display())));
    };
    let mut files = config.role_texts().map_err(Failure::usage)?;
    let path = place(&config, &files, role)?;
    files.retain(|(known, _)| *known != path);
    let [(_, text)] = &given;
    files.push((path.clone(), text.clone()));
    read_roles(&files).map_err(Failure::refused)?;
    files::replace(&path, text.as_bytes(), 0o644)
        .map_err(|error| Failure::unavailable(format!("{}: {error}", path.display())))?;
    let subject = Subject { roles: vec![role.name.clone()], ..Subject::default() };
    common.audit(&config)?.write(What::RoleApplied { file: path.clone() }, subject);
    if common.json {
        println!("{}", json!({ "role": role.name, "file": path }));
    } else {
        println!("{}: {}; systemctl reload cotter-authority puts it in force", role.name, path.display());
    }
    Ok(())
}

/// Where a role stands, if it stands alone; else where it would.
fn place(config: &Config, files: &[(PathBuf, String)], role: &Role) -> Result<PathBuf, Failure> {
    let known = read_roles(files).map_err(Failure::usage)?;
    if let Some((path, _)) = known.iter().find(|(_, known)| known.name == role.name) {
        let is_alone = known.iter().filter(|(other, _)| other == path).count() == 1;
        let among =
            || format!("{}: {:?} stands there among others: change it there", path.display(), role.name);
        return if is_alone { Ok(path.to_path_buf()) } else { Err(Failure::refused(among())) };
    }
    if role.name.starts_with('.') || role.name.contains('/') {
        return Err(Failure::refused(format!("{:?} cannot be a file's name", role.name)));
    }
    Ok(config.roles_dir.join(format!("{}.yaml", role.name)))
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
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
