//! `user`: who may log in.

use std::io::{self, BufRead, IsTerminal, Read};

use clap::{Args, Subcommand};
use pinning::Role;
use serde_json::json;

use super::{Common, Failure, lock, output};
use crate::audit::{Subject, What};
use crate::clock;
use crate::config::Config;
use crate::password;
use crate::second_factor;
use crate::store::{Person, Store, StoreError};

/// Longest name, in bytes.
const LONGEST_NAME: usize = 256;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add somebody; the password is asked for, or read as one line of standard input
    Add(Add),
    /// List everybody
    Ls,
    /// Give somebody other roles or logins; what is not named stays
    Set(Set),
    /// Remove somebody; nodes that follow cut their sessions, and lock them until their last certificate has ended
    Rm(Name),
    /// Keep somebody from logging in, and cut their sessions at all nodes that follow
    Lock(Name),
    /// Let somebody log in again
    Unlock(Name),
    /// Change somebody's password; it is asked for, or read as one line of standard input
    Passwd(Name),
    /// Give somebody a second factor, or another one instead, and print its secret once
    SecondFactor(SecondFactor),
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

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Who
    name: String,
    /// A role, instead of those before; may be given several times
    #[arg(long = "role", required_unless_present = "logins")]
    roles: Vec<String>,
    /// A login, instead of those before; may be given several times
    #[arg(long = "login")]
    logins: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct SecondFactor {
    /// Who
    name: String,
    /// Take it away
    #[arg(long)]
    remove: bool,
}

/// What the subcommands work with.
struct Desk<'c> {
    common: &'c Common,
    config: Config,
    store: Store,
}

pub(super) async fn user(common: &Common, command: Command) -> Result<(), Failure> {
    let (config, store) = common.open().await?;
    let desk = Desk { common, config, store };
    let store = &desk.store;
    match command {
        Command::Add(add) => desk.add(add).await,
        Command::Ls => desk.list().await,
        Command::Set(set) => desk.set(set).await,
        Command::Rm(Name { name }) => desk.remove(&name).await,
        Command::Lock(Name { name }) => {
            desk.done(What::UserLocked, &name, store.set_locked(&name, true).await)
        }
        Command::Unlock(Name { name }) => {
            desk.done(What::UserUnlocked, &name, store.set_locked(&name, false).await)
        }
        Command::Passwd(Name { name }) => {
            let hash = password::hash(&ask()?).map_err(Failure::refused)?;
            desk.done(What::PasswordChanged, &name, store.set_password(&name, &hash).await)
        }
        Command::SecondFactor(SecondFactor { name, remove: true }) => {
            let removed = store.set_second_factor(&name, None).await;
            desk.done(What::SecondFactorRemoved, &name, removed)
        }
        Command::SecondFactor(SecondFactor { name, remove: false }) => {
            let secret = second_factor::new_secret();
            let set = store.set_second_factor(&name, Some(&secret)).await;
            desk.done(What::SecondFactorSet, &name, set)?;
            desk.tell(&name, &secret);
            Ok(())
        }
    }
}

impl Desk<'_> {
    async fn add(&self, add: Add) -> Result<(), Failure> {
        require_name(&add.name)?;
        let roles = self.require_roles(&add.roles)?;
        if let Some(login) = add.logins.iter().find(|login| !is_word(login)) {
            return Err(Failure::usage(format!("{login:?} is no login: no spaces, no control characters")));
        }
        let hash = password::hash(&ask()?).map_err(Failure::refused)?;
        let logins = if add.logins.is_empty() { vec![add.name.clone()] } else { add.logins };
        let totp = add.second_factor.then(second_factor::new_secret);
        let person =
            Person { name: add.name, password: Some(hash), totp, roles: add.roles, logins, locked: false };
        self.store.add_person(&person, clock::unix()).await.map_err(|error| self.failure(&error))?;
        let subject = Subject { roles: person.roles, ..Subject::user(&person.name) };
        self.common.audit(&self.config)?.write(What::UserAdded { logins: person.logins }, subject);
        if let Some(secret) = person.totp {
            self.tell(&person.name, &secret);
            if !roles.iter().any(|role| role.options.require_second_factor) {
                eprintln!("cotter-authority: none of these roles asks for it (require_second_factor: true)");
            }
        }
        Ok(())
    }

    async fn list(&self) -> Result<(), Failure> {
        let mut rows = Vec::new();
        for person in self.store.people().await.map_err(|error| self.failure(&error))? {
            let Person { name, roles, logins, locked, totp, .. } = person;
            if self.common.json {
                let second_factor = totp.is_some();
                println!(
                    "{}",
                    json!({ "user": name, "roles": roles, "logins": logins, "locked": locked, "second_factor": second_factor })
                );
            } else {
                let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
                rows.push([name, roles.join(","), logins.join(","), word(totp.is_some()), word(locked)]);
            }
        }
        if !self.common.json {
            output::table(["USER", "ROLES", "LOGINS", "SECOND FACTOR", "LOCKED"], rows);
        }
        Ok(())
    }

    async fn set(&self, set: Set) -> Result<(), Failure> {
        self.require_roles(&set.roles)?;
        let person = self.store.person(&set.name).await.map_err(|error| self.failure(&error))?;
        let Some(person) = person else { return Err(nobody(&set.name)) };
        let or = |new: Vec<String>, old| if new.is_empty() { old } else { new };
        let (roles, logins) = (or(set.roles, person.roles), or(set.logins, person.logins));
        let done = self.store.set_roles(&set.name, &roles, &logins).await;
        self.found(&set.name, done)?;
        let subject = Subject { roles, ..Subject::user(&set.name) };
        self.common.audit(&self.config)?.write(What::UserChanged { logins }, subject);
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), Failure> {
        let removed = self.store.remove_person(name, &self.config.name, clock::unix()).await;
        let Some(lock) = removed.map_err(|error| self.failure(&error))? else { return Err(nobody(name)) };
        let audit = self.common.audit(&self.config)?;
        audit.write(What::UserRemoved, Subject::user(name));
        if let Some(lock) = lock {
            audit.write(lock::locked(&lock), Subject::default());
        }
        Ok(())
    }

    /// The roles of these names.
    fn require_roles(&self, names: &[String]) -> Result<Vec<Role>, Failure> {
        let known = self.config.roles().map_err(Failure::usage)?;
        if let Some(name) = names.iter().find(|name| !known.iter().any(|known| known.name == **name)) {
            let directory = self.config.roles_dir.display();
            return Err(Failure::refused(format!("no role file in {directory} defines {name:?}")));
        }
        Ok(known.into_iter().filter(|role| names.contains(&role.name)).collect())
    }

    /// Prints a new secret, for the only time.
    fn tell(&self, name: &str, secret: &str) {
        if self.common.json {
            println!("{}", json!({ "user": name, "second_factor": secret }));
        } else {
            println!("second factor of {name}, for an app: {secret}");
        }
    }

    fn done(&self, what: What, name: &str, done: Result<bool, StoreError>) -> Result<(), Failure> {
        self.found(name, done)?;
        self.common.audit(&self.config)?.write(what, Subject::user(name));
        Ok(())
    }

    fn found(&self, name: &str, done: Result<bool, StoreError>) -> Result<(), Failure> {
        match done {
            Ok(true) => Ok(()),
            Ok(false) => Err(nobody(name)),
            Err(error) => Err(self.failure(&error)),
        }
    }

    fn failure(&self, error: &StoreError) -> Failure {
        failure(&self.store, error)
    }
}

/// What a command says of an error of its store.
pub(super) fn failure(store: &Store, error: &StoreError) -> Failure {
    match error {
        StoreError::Exists(_) | StoreError::TooManyLocks => Failure::refused(error),
        StoreError::Unavailable { .. }
        | StoreError::Backup { .. }
        | StoreError::NoFile
        | StoreError::Unreadable { .. }
        | StoreError::UnreadableLock { .. }
        | StoreError::Failed(_) => Failure::unavailable(format!("{}: {error}", store.place())),
    }
}

fn nobody(name: &str) -> Failure {
    Failure::refused(format!("there is no user {name:?}"))
}

/// What fits into a line of somebody else's file.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|it| it.is_control() || it.is_whitespace())
}

/// A key id that can stand in a list, a lock and a line of a log.
fn require_name(name: &str) -> Result<(), Failure> {
    if is_word(name) && name.len() <= LONGEST_NAME && !name.contains('/') {
        return Ok(());
    }
    Err(Failure::usage(format!("{name:?} is no user name: 1 to {LONGEST_NAME} bytes, no spaces, no slash")))
}

/// A password: asked for twice at a terminal, else a line of standard input.
fn ask() -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        let longest = password::LONGEST as u64 + 2;
        io::stdin().lock().take(longest).read_line(&mut line).map_err(Failure::usage)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let once = rpassword::prompt_password("New password: ").map_err(Failure::usage)?;
    let twice = rpassword::prompt_password("Once more: ").map_err(Failure::usage)?;
    if once == twice { Ok(once) } else { Err(Failure::refused("these are two different passwords")) }
}
