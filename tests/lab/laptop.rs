//! A person's own machine: where it is, and what the client keeps on it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};

use crate::authority::{Authority, CLIENT};
use crate::ca::Identity;
use crate::place::Place;

/// A machine with the client. It can be carried elsewhere with all that it holds, and so can a copy of it.
#[derive(Clone, Debug)]
pub struct Laptop {
    place: Place,
    home: String,
}

impl Laptop {
    /// A machine of this name, on which nobody has logged in yet.
    pub fn new(place: &Place, name: &str) -> Self {
        Self { place: place.clone(), home: format!("/root/{name}") }
    }

    /// The same machine at another place.
    pub fn carried_to(&self, place: &Place) -> Self {
        Self { place: place.clone(), ..self.clone() }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The key and the certificate of the last login.
    pub fn identity(&self) -> Identity {
        Identity { key: format!("{}/cotter/id", self.home) }
    }

    /// Logs in at an authority.
    pub fn log_in(&self, authority: &Authority, user: &str, password: &str) -> Result<Output> {
        let url = authority.url();
        let fingerprint = authority.fingerprint();
        let arguments = ["login", "--authority", &url, "--user", user, "--fingerprint", fingerprint];
        self.cotter(&[&arguments[..], &["--password-stdin"]].concat(), &format!("{password}\n"))
    }

    /// Runs `cotter` without a terminal, with this on its standard input.
    pub fn cotter(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.place.spawn(&mut command)?;
        // A program that does not listen may have ended already.
        let _ended = child.stdin.take().context("no input")?.write_all(input.as_bytes());
        let mut output = Output { status: child.wait()?, stdout: Vec::new(), stderr: Vec::new() };
        // They say little: a pipe holds it.
        if let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) {
            std::io::Read::read_to_end(&mut stdout, &mut output.stdout)?;
            std::io::Read::read_to_end(&mut stderr, &mut output.stderr)?;
        }
        Ok(output)
    }

    /// `cotter`, with what it keeps on this machine.
    pub fn command(&self) -> Command {
        let mut command = Place::command(CLIENT);
        command.env("XDG_STATE_HOME", &self.home);
        command
    }
}
