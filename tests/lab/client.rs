//! `cotter` and its like as somebody at some place runs them: with an environment of theirs, at a terminal or without one.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};

use crate::authority::{Authority, CLIENT};
use crate::ca::Identity;
use crate::network::NODE_V4;
use crate::place::Place;
use crate::terminal::Terminal;

/// Where it keeps what a login leaves, unless it is told otherwise.
const STATE: &str = "/root/.local/state";
/// What tells it otherwise.
const STATE_HOME: &str = "XDG_STATE_HOME";

/// Somebody's command line. Unless told otherwise all of a lab have one home.
#[derive(Debug, Clone)]
pub struct Client {
    place: Place,
    environment: Vec<(String, String)>,
    /// Whose it is, if not root's.
    account: Option<String>,
}

impl Client {
    /// That at a place.
    pub fn at(place: &Place) -> Self {
        Self { place: place.clone(), environment: Vec::new(), account: None }
    }

    /// The same with a variable set.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same as an account of the lab without any privileges, at home in its own directory.
    #[must_use]
    pub fn of(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self.with("HOME", &format!("/home/{account}")).with("USER", account)
    }

    /// The same with a home of its own, of this name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.with(STATE_HOME, &format!("/root/{name}"))
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The key and the certificate of the last login at an authority.
    pub fn identity(&self, authority: &Authority) -> Identity {
        let told = self.environment.iter().rfind(|(name, _)| name == STATE_HOME);
        let home = told.map_or(STATE, |(_, home)| home);
        let at = authority.at(NODE_V4.into());
        Identity { key: format!("{home}/cotter/{}_{}/id", at.ip(), at.port()) }
    }

    /// Logs in at an authority by its fingerprint.
    pub fn log_in(&self, authority: &Authority, user: &str, password: &str) -> Result<Output> {
        let (url, fingerprint) = (authority.url(), authority.fingerprint());
        let arguments = ["login", "--authority", &url, "--user", user, "--fingerprint", fingerprint];
        self.cotter_told(&[&arguments[..], &["--password-stdin"]].concat(), password)
    }

    /// The same elsewhere.
    #[must_use]
    pub fn moved(&self, place: &Place) -> Self {
        Self { place: place.clone(), ..self.clone() }
    }

    /// Runs `cotter` to its end, without a terminal and with nothing to read.
    pub fn cotter(&self, arguments: &[&str]) -> Result<Output> {
        self.run(CLIENT, arguments)
    }

    /// The same with one line to read.
    pub fn cotter_told(&self, arguments: &[&str], line: &str) -> Result<Output> {
        let mut command = self.without_terminal(CLIENT, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What it says goes to pipes, which hold it.
        let mut child = self.place.spawn(&mut command)?;
        let mut input = child.stdin.take().context("no input")?;
        // A program that does not listen may have ended already.
        let _ended = writeln!(input, "{line}");
        drop(input);
        let mut output = Output { status: child.wait()?, stdout: Vec::new(), stderr: Vec::new() };
        if let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) {
            std::io::Read::read_to_end(&mut stdout, &mut output.stdout)?;
            std::io::Read::read_to_end(&mut stderr, &mut output.stderr)?;
        }
        Ok(output)
    }

    /// `cotter` at a terminal.
    pub fn cotter_at_terminal(&self, arguments: &[&str]) -> Result<Terminal> {
        self.at_terminal(CLIENT, arguments)
    }

    /// Any program, without a terminal and with nothing to read.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.place.output(self.without_terminal(program, arguments).stdin(Stdio::null()))
    }

    /// Any program at a terminal.
    pub fn at_terminal(&self, program: &str, arguments: &[&str]) -> Result<Terminal> {
        Terminal::start(&self.place, &self.command(program, arguments))
    }

    /// Whoever runs the suite may have a terminal, which is none of the lab's.
    fn without_terminal(&self, program: &str, arguments: &[&str]) -> Command {
        self.command("setsid", &[&[program], arguments].concat())
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = match &self.account {
            None => Place::command(program),
            Some(account) => {
                let mut command = Place::command("setpriv");
                command.args(["--reuid", account, "--regid", account, "--init-groups", "--no-new-privs"]);
                command.args(["--inh-caps=-all", "--bounding-set=-all", program]);
                command
            }
        };
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
