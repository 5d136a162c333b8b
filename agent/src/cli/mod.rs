//! The command line: one file a subcommand, exit codes that scripts can rely on.

mod check_cert;
mod client;
mod config_check;
mod coverage;
mod cut;
mod detach;
mod doctor;
mod events;
mod exit;
mod explain;
mod farewell;
mod gate;
mod lock;
mod mode;
mod output;
mod penalties;
mod plain;
mod program;
mod relay;
mod relay_key;
mod replay;
mod run;
mod sessions;
mod setup;
mod status;
mod top;

pub use exit::Exit;

use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

/// Holds SSH sessions of this node to the address they logged in from.
///
/// Exit codes: 0 done or allowed, 1 denied or not found, 2 usage or configuration, 3 the agent or the kernel is
/// unavailable.
#[derive(Debug, Parser)]
#[command(name = "cotter-agent", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// The node's configuration; it also tells where the agent's sockets and maps are
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cotter/agent.toml")]
    config: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent
    Run,
    /// Show what is in force
    Status,
    /// List sessions, and connections that are none
    Sessions,
    /// Show the latest decisions
    Events(events::Options),
    /// Watch sessions, packets and denials as they come and go
    ///
    /// Keys: q, Esc and Ctrl-C quit; j, k, arrows and pages select a session, of which all is told below the list; s changes
    /// the order; p holds the picture still. An agent that goes away is waited for. With --json, one object a look on a line
    /// of its own until interrupted, also without a terminal.
    Top(top::Options),
    /// List sources that are kept out, or let them in again
    Penalties(penalties::Options),
    /// End a session
    Cut(cut::Options),
    /// Lock a user, login, session, certificate or address; sessions it matches are cut
    Lock(lock::Options),
    /// Take a lock away
    Unlock(lock::UnlockOptions),
    /// List locks
    Locks,
    /// Show or set the mode
    Mode(mode::Options),
    /// Say what the login check says of a certificate, offline
    CheckCert(check_cert::Options),
    /// Say what the loaded program says of a packet
    Explain(explain::Options),
    /// Judge each packet of a capture; nothing is sent and no live map is written
    Replay(replay::Options),
    /// Work with the configuration
    Config(config_check::Options),
    /// Look for what would keep Cotter from working, or let logins pass it by
    ///
    /// One line a finding: ok, warning or error, what was found, and what to do about it; with --json each has an `id`
    /// that stays the same from version to version. Changes nothing. Exit codes: 0 all is well, 1 there are warnings,
    /// 2 there are errors.
    Doctor,
    /// Switch Cotter on in other programs, or off
    Setup(setup::Options),
    /// Take everything that a stopped agent has left out of the kernel
    Detach(detach::Options),
    /// Hand connections of balancers and bastions on to sshd, with their users' own addresses
    Relay,
    /// Print the key by which this node vouches for its users, for the nodes behind it; it is made if there is none
    RelayKey,
    /// One of them; the relay starts it
    #[command(hide = true)]
    RelayConnection(relay::Options),
    /// Tell terminals why their sessions end; the agent starts it
    #[command(hide = true)]
    Farewell,
}

/// The command line as it is defined, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

impl Cli {
    /// Runs the command and says how it ended; errors go to standard error.
    #[must_use]
    pub fn run(self) -> Exit {
        let common = &self.common;
        let result = match self.command {
            Command::Run => run::run(common),
            Command::Status => status::status(common),
            Command::Sessions => sessions::sessions(common),
            Command::Events(options) => events::events(common, &options),
            Command::Top(options) => top::top(common, &options),
            Command::Penalties(options) => penalties::penalties(common, &options),
            Command::Cut(options) => cut::cut(common, &options),
            Command::Lock(options) => lock::lock(common, options),
            Command::Unlock(options) => lock::unlock(common, options),
            Command::Locks => lock::locks(common),
            Command::Mode(options) => mode::mode(common, &options),
            Command::CheckCert(options) => check_cert::check_cert(common, &options),
            Command::Explain(options) => explain::explain(common, &options),
            Command::Replay(options) => replay::replay(common, &options),
            Command::Config(options) => config_check::config(common, &options),
            Command::Doctor => doctor::doctor(common),
            Command::Setup(options) => setup::setup(common, options),
            Command::Detach(options) => detach::detach(common, &options),
            Command::Relay => relay::relay(common),
            Command::RelayKey => relay_key::relay_key(common),
            Command::RelayConnection(options) => relay::connection(options),
            Command::Farewell => farewell::farewell(),
        };
        result.unwrap_or_else(|failure| failure.report(common.json))
    }
}
