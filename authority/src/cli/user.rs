//! `user`: who may log in.

use std::io::{self, BufRead, IsTerminal};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Common, Failure};
use crate::audit;
use crate::clock;
use crate::password;
use crate::second_factor;
use crate::store::{Person, Store, StoreError};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add somebody; the password is asked for, or read as one line of standard input
    Add(Add),
    /// List everybody
    Ls,
    /// Remove somebody; nodes that follow cut their sessions, and lock them until their last certificate has ended
    Rm(Name),
    /// Keep somebody from logging in, and cut their sessions at all nodes that follow
    Lock(Name),
    /// Let somebody log in again
    Unlock(Name),
    /// Change somebody's password
    Passwd(Name),
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// Who
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The key id of their certificates
    name: String,
    /// A role; may be given several times
    #[arg(long = "role", required = true)]
    roles: Vec<String>,
    /// A login of theirs, for roles that do not name logins; their name if none is given
    #[arg(long = "login")]
    logins: Vec<String>,
    /// Give them a second factor, and print its secret once
    #[arg(long)]
    second_factor: bool,
}

pub(super) async fn user(common: &Common, command: Command) -> Result<(), Failure> {
    let (config, store) = common.open().await?;
    match command {
        Command::Add(add) => {
            let known = config.roles().map_err(Failure::usage)?;
            if let Some(role) = add.roles.iter().find(|role| !known.iter().any(|known| known.name == **role))
            {
                return Err(Failure::refused(format!(
                    "no role file in {} defines {role:?}",
                    config.roles_dir.display()
                )));
            }
            self::add(common, &store, add).await
        }
        Command::Ls => list(common, &store).await,
        Command::Rm(Name { name }) => {
            let removed = store.remove_person(&name, &config.name, clock::unix()).await;
            done("user_removed", &name, removed.map(|removed| removed.is_some()))
        }
        Command::Lock(Name { name }) => done("user_locked", &name, store.set_locked(&name, true).await),
        Command::Unlock(Name { name }) => done("user_unlocked", &name, store.set_locked(&name, false).await),
        Command::Passwd(Name { name }) => {
            let hash = password::hash(&ask()?).map_err(Failure::refused)?;
            done("password_changed", &name, store.set_password(&name, &hash).await)
        }
    }
}

async fn add(common: &Common, store: &Store, add: Add) -> Result<(), Failure> {
    let hash = password::hash(&ask()?).map_err(Failure::refused)?;
    let logins = if add.logins.is_empty() { vec![add.name.clone()] } else { add.logins };
    let totp = add.second_factor.then(second_factor::new_secret);
    let person =
        Person { name: add.name, password: Some(hash), totp, roles: add.roles, logins, locked: false };
    store.add_person(&person, clock::unix()).await.map_err(failure)?;
    audit::changed("user_added", &person.name);
    match person.totp {
        Some(secret) if common.json => {
            println!("{}", json!({ "user": person.name, "second_factor": secret }))
        }
        Some(secret) => println!("second factor of {}, for an app: {secret}", person.name),
        None => {}
    }
    Ok(())
}

async fn list(common: &Common, store: &Store) -> Result<(), Failure> {
    for person in store.people().await.map_err(failure)? {
        let Person { name, roles, logins, locked, totp, .. } = person;
        if common.json {
            let second_factor = totp.is_some();
            println!(
                "{}",
                json!({ "user": name, "roles": roles, "logins": logins, "locked": locked, "second_factor": second_factor })
            );
        } else {
            let locked = if locked { "  locked" } else { "" };
            println!("{name}  roles {}  logins {}{locked}", roles.join(","), logins.join(","));
        }
    }
    Ok(())
}

fn done(event: &'static str, name: &str, done: Result<bool, StoreError>) -> Result<(), Failure> {
    match done {
        Ok(true) => {
            audit::changed(event, name);
            Ok(())
        }
        Ok(false) => Err(Failure::refused(format!("there is no user {name:?}"))),
        Err(error) => Err(failure(error)),
    }
}

pub(super) fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::Exists(_) | StoreError::TooManyLocks => Failure::refused(error),
        StoreError::Unavailable { .. }
        | StoreError::Unreadable { .. }
        | StoreError::UnreadableLock { .. }
        | StoreError::Failed(_) => Failure::unavailable(error),
    }
}

/// A password: asked for twice at a terminal, else a line of standard input.
fn ask() -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(Failure::usage)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let once = rpassword::prompt_password("New password: ").map_err(Failure::usage)?;
    let twice = rpassword::prompt_password("Once more: ").map_err(Failure::usage)?;
    if once == twice { Ok(once) } else { Err(Failure::refused("these are two different passwords")) }
}
