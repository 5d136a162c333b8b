//! The command line: one file a subcommand.

mod knock;
mod login;
mod logout;
mod opening;
mod renewal;
mod ssh;
mod ssh_config;
mod standing;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use cotter_api::{AuthorityError, Place};

use crate::ending::Ended;
use crate::fleet::Fleet;
use crate::home::{Drawer, Home, HomeError};
use crate::known::{Known, KnownAuthorities};
use crate::node::Nodes;
use crate::terminal::{AskError, tell};

/// Says which authority, if no option does.
const VARIABLE: &str = "COTTER_AUTHORITY";

/// Logs in where SSH sessions are pinned to your address, and runs ssh.
///
/// The authority is the one that --authority names, else COTTER_AUTHORITY, else the one of the last `cotter login`, else the
/// one in /etc/cotter/client.toml, which cotter-client.toml(5) describes.
///
/// Exit codes: 0 done, 1 refused or not logged in, 2 usage or configuration, 3 the authority, or a node to knock
/// at, cannot be reached; `ssh` ends as ssh does.
#[derive(Debug, Parser)]
#[command(name = "cotter", version, propagate_version = true)]
pub struct Cli {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Where the authority is, such as https://login.example.com
    #[arg(long, global = true, value_name = "URL")]
    authority: Option<Place>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Log in, and get a certificate
    Login(login::Options),
    /// Run ssh with the certificate; logs in again first if your address changed or the certificate ended
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Ssh(ssh::Options),
    /// Have a node that shows strangers no open port open its ssh port to your address
    Knock(knock::Options),
    /// Show what you are logged in as, from where and until when; 1 if that is of no use here and now
    Status,
    /// Remove key and certificate from this machine, and from the ssh-agent
    Logout(logout::Options),
    /// Print what gives plain ssh, scp, rsync, git and Ansible the same; for ~/.ssh/config
    SshConfig(ssh_config::Options),
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

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        Self::usage(error)
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::refused(error)
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self { code: ended.code(), message: ended.to_string() }
    }
}

impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Refused(_) => Self::refused(error),
            AuthorityError::Another { .. } => Self::refused(format!(
                "{error}; if its administrator confirms the new fingerprint: cotter login --fingerprint SHA256:…"
            )),
            AuthorityError::Unreachable { .. } => Self::unreachable(error),
        }
    }
}

/// What every command goes by.
struct Context {
    home: Home,
    authorities: KnownAuthorities,
    fleet: Fleet,
    nodes: Nodes,
    /// The authority that was named or is the usual one.
    place: Option<Place>,
    json: bool,
}

impl Context {
    fn of(named: Option<Place>, json: bool) -> Result<Self, Failure> {
        let home = Home::open()?;
        let authorities = KnownAuthorities::load(&home)?;
        let fleet = Fleet::load().map_err(Failure::usage)?;
        let nodes = Nodes::load(&fleet).map_err(Failure::usage)?;
        let variable = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
        let variable = variable.map(|text| text.parse::<Place>()).transpose();
        let place = named
            .or(variable.map_err(|error| Failure::usage(format!("{VARIABLE}: {error}")))?)
            .or_else(|| authorities.usual(&fleet).map(|usual| usual.authority.clone()))
            .or_else(|| fleet.authority.clone());
        Ok(Self { home, authorities, fleet, nodes, place, json })
    }

    fn place(&self) -> Result<&Place, Failure> {
        self.place.as_ref().ok_or_else(|| Failure::usage("where is the authority? --authority URL"))
    }

    /// The authority, and who logs in there: as the last time, or, where the fleet says what makes it the right one, as on
    /// this machine.
    fn known(&self) -> Result<Known, Failure> {
        let not =
            |at: &str| Failure::refused(format!("you are not logged in: cotter login --authority {at}"));
        let place = self.place.as_ref().ok_or_else(|| not("URL"))?;
        let of_the_fleet = || {
            self.fleet.vouches_for(place)?;
            let (authority, user) = (place.clone(), user_here()?);
            Some(Known { authority, fingerprint: None, ca_file: None, user, ssh_agent: false })
        };
        let known = self.authorities.at(place).cloned().or_else(of_the_fleet);
        known.ok_or_else(|| not(&place.to_string()))
    }

    fn drawer(&self, known: &Known) -> Result<Drawer, Failure> {
        Ok(self.home.drawer(&known.authority)?)
    }
}

/// Who somebody is on this machine.
fn user_here() -> Option<String> {
    ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
}

/// The definition of the command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The same command line, but what follows `ssh` is ssh's as it stands: a `--` that protects ssh from a host's name is not
/// used up here.
fn left_to_ssh(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    let mut at = 1;
    while let Some(option) = arguments.get(at).filter(|word| word.as_encoded_bytes().starts_with(b"-")) {
        at += if option == "--authority" { 2 } else { 1 };
    }
    if arguments.get(at).is_some_and(|word| word == "ssh") {
        arguments.insert(at + 1, "--".into());
    }
    arguments
}

impl Cli {
    /// Reads a command line, the program's name first; ends the process if it is none.
    #[must_use]
    pub fn read(arguments: impl Iterator<Item = OsString>) -> Self {
        Self::parse_from(left_to_ssh(arguments))
    }

    /// Does what the command line says.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let json = self.json;
        // What ssh's output is mixed with is no place for ours.
        let to_programs = json && !matches!(self.command, Command::Ssh(_));
        let done = runtime.map_err(Failure::unreachable).and_then(|runtime| {
            let done = Context::of(self.authority, json)
                .and_then(|context| runtime.block_on(self.command.run(context)));
            // A question that nobody has answered is not waited for.
            runtime.shutdown_background();
            done
        });
        match done {
            Ok(code) => code,
            Err(Failure { code, message }) => {
                if to_programs {
                    println!("{}", serde_json::json!({ "error": message }));
                } else {
                    tell(message);
                }
                code.into()
            }
        }
    }
}

impl Command {
    async fn run(self, context: Context) -> Result<ExitCode, Failure> {
        match self {
            Self::Login(options) => login::login(context, options).await,
            Self::Ssh(options) => ssh::ssh(&context, &options).await,
            Self::Knock(options) => knock::knock(&context, options).await,
            Self::Status => status::status(&context).await,
            Self::Logout(options) => logout::logout(&context, &options).await,
            Self::SshConfig(options) => ssh_config::ssh_config(&context, &options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_ssh_is_ssh_s_as_it_stands() {
        let read = |line: &str| {
            let cli = Cli::read(line.split(' ').map(OsString::from));
            let Command::Ssh(options) = cli.command else { panic!("{line}") };
            let arguments: Vec<_> = options.arguments.iter().map(|it| it.to_string_lossy()).collect();
            (arguments.join(" "), cli.json)
        };
        for (line, left) in [
            ("cotter ssh -- -oProxyCommand=x", "-- -oProxyCommand=x"),
            ("cotter ssh -J a -- node ls -l", "-J a -- node ls -l"),
            ("cotter ssh node -- ls", "node -- ls"),
            ("cotter ssh -V", "-V"),
            ("cotter ssh --json --help node", "--json --help node"),
        ] {
            assert_eq!(read(line), (left.to_owned(), false), "{line}");
        }
        let told = "cotter --json --authority https://ssh ssh -- node";
        assert_eq!(read(told), ("-- node".to_owned(), true));
    }
}
