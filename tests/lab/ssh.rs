//! A login from some place: to run one command, or to stay.

use std::fmt;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::ca::Identity;
use crate::network::NODE_V4;
use crate::place::Place;
use crate::process::Process;

/// A login with OpenSSH's client: from where, with which identity, as whom, to where.
#[derive(Clone, Debug)]
pub struct Login {
    place: Place,
    identity: Identity,
    target: String,
    port: u16,
    options: Vec<String>,
}

impl Login {
    /// A login as `user` to the node's IPv4 address and port 22.
    pub fn new(place: &Place, identity: &Identity, user: &str) -> Self {
        Self {
            place: place.clone(),
            identity: identity.clone(),
            target: format!("{user}@{NODE_V4}"),
            port: 22,
            options: Vec::new(),
        }
    }

    /// The place it comes from.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The same login to another of the node's addresses.
    pub fn to(mut self, address: std::net::IpAddr) -> Self {
        let user = self.target.split('@').next().unwrap_or_default();
        self.target = format!("{user}@{address}");
        self
    }

    /// The same login to another port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Adds an argument for ssh, before the target.
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Logs in with `ssh -N`: no command, no terminal, only the connection, which stays until it is dropped or cut.
    pub fn connect_only(&self) -> Result<Process> {
        let mut ssh = self.clone().option("-N").client();
        self.place.spawn(ssh.arg(&self.target).stdin(Stdio::null()).stderr(Stdio::piped()))
    }

    /// Runs `command` on the node and waits for its end.
    pub fn run(&self, command: &str) -> Result<Output> {
        self.place.output(self.command(command).stdin(Stdio::null()))
    }

    /// Runs `command`; what it printed, or an error with what ssh complained of.
    pub fn succeed(&self, command: &str) -> Result<String> {
        let output = self.run(command)?;
        if !output.status.success() {
            bail!(
                "{}$ {self} {command}: {}: {}",
                self.place.name(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Logs in with a command that echoes, and waits until it does; then the session stays until it is dropped or cut.
    /// What the command reads it also writes to the file `heard` in the user's home.
    pub fn stay(&self) -> Result<Session> {
        let mut session = self.begin("exec tee heard")?;
        if session.echoes("hello", Duration::from_secs(30))? {
            return Ok(session);
        }
        let mut complaint = String::new();
        session.child.kill()?;
        if let Some(mut stderr) = session.child.stderr.take() {
            stderr.read_to_string(&mut complaint)?;
        }
        bail!("{}$ {self}: did not stay: {}", self.place.name(), complaint.trim())
    }

    /// The same at a terminal of the node's, on which `prepared` is run before: `mesg n`, say.
    pub fn stay_at_terminal(&self, prepared: &str) -> Result<Session> {
        let mut session = self.run_at_terminal(&format!("{prepared}; echo ready; exec tee heard"))?;
        session.hears("ready", Duration::from_secs(30))?;
        Ok(session)
    }

    /// Logs in with a command at a terminal of the node's that leaves what goes through it alone.
    pub fn run_at_terminal(&self, command: &str) -> Result<Session> {
        self.clone().option("-tt").begin(&format!("stty raw -echo; {command}"))
    }

    fn begin(&self, remote: &str) -> Result<Session> {
        let mut command = self.command(remote);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.place.spawn(&mut command)?;
        let input = child.stdin.take().context("ssh without input")?;
        let output = child.stdout.take().context("ssh without output")?;
        Ok(Session { child, input, output })
    }

    fn command(&self, remote: &str) -> Command {
        let mut ssh = self.client();
        ssh.args([&self.target, remote]);
        ssh
    }

    /// ssh with all its options.
    fn client(&self) -> Command {
        let mut ssh = Place::command("ssh");
        ssh.args(["-i", &self.identity.key]).args(&self.options);
        if self.port != 22 {
            ssh.args(["-p", &self.port.to_string()]);
        }
        ssh
    }
}

/// The command line as one would type it at that place's prompt; the rest stands in the lab's `/etc/ssh/ssh_config`.
impl fmt::Display for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ssh -i {}", self.identity.key)?;
        for option in &self.options {
            write!(formatter, " {option}")?;
        }
        if self.port != 22 {
            write!(formatter, " -p {}", self.port)?;
        }
        write!(formatter, " {}", self.target)
    }
}

/// A login that stays, with an echo at the other end of its pipes.
#[derive(Debug)]
pub struct Session {
    child: Process,
    input: ChildStdin,
    output: ChildStdout,
}

impl Session {
    /// Sends `text` and tells whether it comes back within `limit`.
    pub fn echoes(&mut self, text: &str, limit: Duration) -> Result<bool> {
        if !self.send(text)? {
            return Ok(false);
        }
        let deadline = Instant::now() + limit;
        let mut heard = Vec::new();
        while heard.len() <= text.len() {
            match self.hear(deadline.saturating_duration_since(Instant::now()))? {
                Some(bytes) if !bytes.is_empty() => heard.extend(bytes),
                _ => return Ok(false),
            }
        }
        Ok(heard == format!("{text}\n").into_bytes())
    }

    /// Gives `text` and a line end to the client to send; `false` if the client is gone.
    pub fn send(&mut self, text: &str) -> Result<bool> {
        match writeln!(self.input, "{text}") {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error).context("cannot write to ssh"),
        }
    }

    /// What comes from the node within `limit`: `None` if nothing does, empty if the client has ended.
    pub fn hear(&mut self, limit: Duration) -> Result<Option<Vec<u8>>> {
        let patience = Timespec::try_from(limit)?;
        let mut fds = [PollFd::new(&self.output, PollFlags::IN)];
        if poll(&mut fds, Some(&patience))? == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; 4096];
        let count = rustix::io::read(self.output.as_fd(), &mut bytes)?;
        bytes.truncate(count);
        Ok(Some(bytes))
    }

    /// Reads until `text` has come from the node, and gives all that came; an error if it does not within `limit`.
    pub fn hears(&mut self, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(text) {
            match self.hear(deadline.saturating_duration_since(Instant::now()))? {
                Some(bytes) if !bytes.is_empty() => heard.extend(bytes),
                _ => bail!("instead of {text:?} came {:?}", String::from_utf8_lossy(&heard)),
            }
        }
        Ok(String::from_utf8_lossy(&heard).into_owned())
    }

    /// All that still comes from the node until the client ends, within `limit`.
    pub fn last_words(&mut self, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        let mut heard = Vec::new();
        loop {
            match self.hear(deadline.saturating_duration_since(Instant::now()))? {
                None => bail!("the client has not ended within {limit:?}"),
                Some(bytes) if bytes.is_empty() => return Ok(String::from_utf8_lossy(&heard).into_owned()),
                Some(bytes) => heard.extend(bytes),
            }
        }
    }

    /// How the client ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Hangs up: the client is killed.
    pub fn hang_up(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}
