//! The command line: one file a subcommand.

mod backup;
mod ca;
mod config;
mod init;
mod knock_secret;
mod lock;
mod output;
mod role;
mod run;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::audit::Audit;
use crate::config::Config;
use crate::store::Store;

/// Logs people in, and issues certificates that are pinned to the address they log in from.
///
/// Exit codes: 0 done, 1 refused or not found, 2 usage or configuration, 3 the storage or the network is unavailable.
#[derive(Debug, Parser)]
#[command(name = "cotter-authority", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// The authority's configuration
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cotter/authority.toml")]
    config: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make keys, certificate and storage where they are missing, and show what clients and nodes need to know
    Init,
    /// Run the authority
    Run,
    /// Add, list, change and remove people
    #[command(subcommand)]
    User(user::Command),
    /// List roles, or check a file of them
    #[command(subcommand)]
    Role(role::Command),
    /// Keep people, accounts, certificates or addresses out, here and at all nodes that follow
    Lock(lock::Options),
    /// Take a lock away
    Unlock(lock::Unlock),
    /// List locks
    Locks,
    /// The keys that nodes trust
    #[command(subcommand)]
    Ca(ca::Command),
    /// Make the secret by which nodes tell made-up knocks from others, for `knock_secret` and for the nodes
    KnockSecret(knock_secret::Options),
    /// Check the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Copy the storage to a file while the authority goes on
    Backup(backup::Options),
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn refused(message: impl ToString) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    fn usage(message: impl ToString) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    fn unavailable(message: impl ToString) -> Self {
        Self { code: 3, message: message.to_string() }
    }
}

impl Common {
    fn load(&self) -> Result<Config, Failure> {
        Config::load(&self.config).map_err(Failure::usage)
    }

    fn audit(&self, config: &Config) -> Result<Audit, Failure> {
        Audit::of_command(&config.name, config.event_log.as_deref()).map_err(Failure::unavailable)
    }

    async fn open(&self) -> Result<(Config, Store), Failure> {
        let config = self.load()?;
        let store = Store::open(&config.storage).await.map_err(Failure::unavailable)?;
        Ok((config, store))
    }
}

/// The definition of the command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

impl Cli {
    /// Does what the command line says.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let json = self.common.json;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::unavailable);
        let done = runtime.and_then(|runtime| runtime.block_on(self.command.run(&self.common)));
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) if json => {
                println!("{}", serde_json::json!({ "error": failure.message }));
                failure.code.into()
            }
            Err(failure) => {
                eprintln!("cotter-authority: {}", failure.message);
                failure.code.into()
            }
        }
    }
}

impl Command {
    async fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::Init => init::init(common).await,
            Self::Run => run::run(common).await,
            Self::User(command) => user::user(common, command).await,
            Self::Role(command) => role::role(common, command),
            Self::Lock(options) => lock::lock(common, options).await,
            Self::Unlock(which) => lock::unlock(common, &which).await,
            Self::Locks => lock::locks(common).await,
            Self::Ca(command) => ca::ca(common, command),
            Self::KnockSecret(options) => knock_secret::knock_secret(common, &options),
            Self::Config(command) => config::config(common, &command),
            Self::Backup(options) => backup::backup(common, &options).await,
        }
    }
}
