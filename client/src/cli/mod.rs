//! The command line: one file a subcommand.

mod login;
mod ssh;
mod ssh_config;
mod status;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::home::Home;

/// Logs in where SSH sessions are pinned to your address, and runs ssh.
///
/// Exit codes: 0 done, 1 refused or not logged in, 2 usage, 3 the authority cannot be reached; `ssh` ends as ssh does.
#[derive(Debug, Parser)]
#[command(name = "cotter", version, propagate_version = true)]
pub struct Cli {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Log in, and get a certificate
    Login(login::Options),
    /// Run ssh with the certificate; logs in again first if your address changed or the certificate ended
    #[command(disable_help_flag = true)]
    Ssh(ssh::Options),
    /// Show what you are logged in as, from where and until when; 1 if that is of no use here and now
    Status,
    /// Remove key and certificate from this machine
    Logout,
    /// Print what gives plain ssh, scp, rsync and git the same; for ~/.ssh/config
    SshConfig,
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

    fn unreachable(message: impl ToString) -> Self {
        Self { code: 3, message: message.to_string() }
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = runtime
            .map_err(Failure::unreachable)
            .and_then(|runtime| runtime.block_on(self.command.run(self.json)));
        match done {
            Ok(code) => code,
            Err(failure) => {
                if self.json {
                    println!("{}", serde_json::json!({ "error": failure.message }));
                } else {
                    eprintln!("cotter: {}", failure.message);
                }
                failure.code.into()
            }
        }
    }
}

impl Command {
    async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let home = Home::open().map_err(Failure::usage)?;
        match self {
            Self::Login(options) => login::login(&home, options, json).await,
            Self::Ssh(options) => ssh::ssh(&home, &options).await,
            Self::Status => status::status(&home, json).await,
            Self::Logout => match home.forget().map_err(Failure::refused)? {
                true => Ok(ExitCode::SUCCESS),
                false => Err(Failure::refused("you are not logged in")),
            },
            Self::SshConfig => ssh_config::ssh_config(&home),
        }
    }
}
