//! A real authority on the node, and people who log in there.

mod policy;
mod storage;

pub use storage::Storage;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::ca::Ca;
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::network::{NODE_V4, NODE_V6};
use crate::pause::pause;
use crate::place::Place;
use crate::postgres::Postgres;
use crate::process::Process;

const AUTHORITY: &str = "/usr/sbin/cotter-authority";
pub(crate) const CLIENT: &str = "/usr/bin/cotter";
/// The port of the first one.
const PORT: u16 = 8443;
/// Where the first one has its keys and, if it has no server for them, people.
const STATE: &str = "/var/lib/cotter-authority";

/// A running authority, which reads its roles where the agent does.
#[derive(Debug)]
pub struct Authority {
    node: Place,
    port: u16,
    /// Of its TLS certificate.
    fingerprint: String,
    /// What nodes trust.
    pub ca: Ca,
    /// What it is told whatever else a test tells it: where people are, and where its keys are.
    own: String,
    storage: Storage,
    process: Process,
    /// Goes after it.
    postgres: Option<Postgres>,
}

impl Authority {
    /// Makes one of the cluster `example.com`, with further lines of configuration, and starts it, on the storage that the
    /// tests are run on. The role files that users have must be there.
    pub fn start(lab: &Lab, lines: &str) -> Result<Self> {
        Self::on(Storage::chosen()?, lab, lines)
    }

    /// The same on this storage.
    pub fn on(storage: Storage, lab: &Lab, lines: &str) -> Result<Self> {
        let postgres = storage.start(lab)?;
        Ok(Self { postgres, ..Self::at_port(lab.node(), PORT, storage, storage.line(), lines)? })
    }

    /// Another one on the same server, as `docs/running-an-authority.md` has it: at an address and with a state directory
    /// of its own, and in that the first one's keys.
    pub fn beside(&self, lines: &str) -> Result<Self> {
        ensure!(self.storage == Storage::Postgres, "authorities cannot share a file");
        let (port, state) = (PORT + 1, format!("{STATE}-2"));
        self.node.run("install", &["-d", "-m", "700", &state])?;
        let keys = ["ca", "policy", "tls"].map(|key| format!("{STATE}/{key}"));
        self.node.run("cp", &["-a", &keys[0], &keys[1], &keys[2], &state])?;
        let own = format!("{}state_dir = \"{state}\"\n", self.storage.line());
        Self::at_port(&self.node, port, self.storage, own, lines)
    }

    fn at_port(node: &Place, port: u16, storage: Storage, own: String, lines: &str) -> Result<Self> {
        configure(node, port, &format!("{own}{lines}"))?;
        let told = node.run(AUTHORITY, &["--config", &config(port), "init", "--json"])?;
        let told: Value = serde_json::from_str(&told)?;
        let fingerprint = told["fingerprint"].as_str().context("no fingerprint")?.to_owned();
        let keys = told["user_ca"].as_array().context("no keys")?.iter().filter_map(Value::as_str);
        let ca = Ca::known(node, "authority", &keys.collect::<Vec<_>>().join("\n"))?;
        let process = launch(node, port)?;
        let node = node.clone();
        let authority = Self { node, port, fingerprint, ca, own, storage, process, postgres: None };
        authority.await_listening()?;
        Ok(authority)
    }

    fn await_listening(&self) -> Result<()> {
        let listens = || self.node.enter(|| std::net::TcpStream::connect((NODE_V4, self.port)).is_ok());
        eventually("the authority listens", || Ok(listens()?.then_some(())))
    }

    /// Tells it other further lines; they count from the next reload or start on.
    pub fn configure(&self, lines: &str) -> Result<()> {
        configure(&self.node, self.port, &format!("{}{lines}", self.own))
    }

    /// Adds somebody with this password; `arguments` name roles, such as `--role pinned-ip`.
    pub fn add(&self, user: &str, password: &str, arguments: &[&str]) -> Result<()> {
        let output = self.told(&[&["user", "add", user], arguments].concat(), password)?;
        if !output.status.success() {
            bail!("user add {user}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Runs its command line, which reads one line.
    pub fn told(&self, arguments: &[&str], line: &str) -> Result<Output> {
        let config = config(self.port);
        spoken_to(&self.node, AUTHORITY, &[&["--config", config.as_str()], arguments].concat(), line)
    }

    /// Starts its command line; it reads this line, and may be killed.
    pub fn begin(&self, arguments: &[&str], line: &str) -> Result<Process> {
        begin(&self.node, AUTHORITY, &[&["--config", config(self.port).as_str()], arguments].concat(), line)
    }

    /// Logs somebody in from a place, by the client; what came of it.
    pub fn log_in(&self, from: &Place, user: &str, password: &str) -> Result<Output> {
        self.log_in_at(from, self.at(NODE_V4.into()), &self.fingerprint, user, password)
    }

    /// The same by way of what listens there with a certificate of that fingerprint.
    pub fn log_in_at(
        &self,
        from: &Place,
        at: SocketAddr,
        fingerprint: &str,
        user: &str,
        password: &str,
    ) -> Result<Output> {
        let url = format!("https://{at}");
        let arguments =
            ["login", "--authority", &url, "--user", user, "--fingerprint", fingerprint, "--password-stdin"];
        spoken_to(from, CLIENT, &arguments, password)
    }

    /// Its address of the same family as another, and its port.
    pub fn at(&self, family: IpAddr) -> SocketAddr {
        let node: IpAddr = if family.is_ipv4() { NODE_V4.into() } else { NODE_V6.into() };
        SocketAddr::new(node, self.port)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("https://{NODE_V4}:{}", self.port)
    }

    /// What clients know it by.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Stops it until it gets SIGCONT.
    pub fn pause(&self) -> Result<()> {
        pause(self.process.pid()?)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.process.pid()?, signal)?)
    }

    /// Ends it without a warning.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Ends it as systemd does.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        Ok(self.process.wait()?)
    }

    /// How much of processors' time it has had, in ticks of a hundredth of a second.
    pub fn processor_time(&self) -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name, in parentheses, may hold anything; user time is the 12th word behind it, system time the next.
        let (_name, words) = stat.rsplit_once(") ").context("no end of the name")?;
        let times = words.split(' ').skip(11).take(2).map(str::parse::<u64>);
        Ok(times.sum::<std::result::Result<u64, _>>()?)
    }

    /// How it ended, if it did.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.process = launch(&self.node, self.port)?;
        self.await_listening()
    }

    /// What stands in its event log.
    pub fn events(&self) -> Result<Vec<Value>> {
        let text = self.node.read(event_log(self.port))?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// What it said beside that, line by line.
    pub fn log(&self) -> Result<String> {
        self.node.read(log(self.port))
    }

    /// The first event that fits, as soon as there is one.
    pub fn event(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(what, || Ok(self.events().unwrap_or_default().into_iter().find(&fits)))
    }

    /// Runs `cotter` from a place, as whoever logged in last, without a terminal.
    pub fn client(from: &Place, arguments: &[&str]) -> Result<Output> {
        from.output(Place::command("setsid").arg(CLIENT).args(arguments).stdin(Stdio::null()))
    }
}

fn config(port: u16) -> String {
    if port == PORT {
        "/etc/cotter/authority.toml".into()
    } else {
        format!("/etc/cotter/authority-{port}.toml")
    }
}

fn event_log(port: u16) -> String {
    format!("/var/log/cotter/authority-{port}.jsonl")
}

/// On the lab's own memory, whoever it runs as.
fn log(port: u16) -> String {
    format!("/run/authority-{port}.log")
}

fn configure(node: &Place, port: u16, lines: &str) -> Result<()> {
    let own = format!(
        "listen = [\"{NODE_V4}:{port}\", \"[{NODE_V6}]:{port}\"]\nevent_log = \"{}\"\n",
        event_log(port)
    );
    node.write(config(port), &format!("name = \"example.com\"\n{own}{lines}"))
}

fn launch(node: &Place, port: u16) -> Result<Process> {
    let mut command = Place::command(AUTHORITY);
    command.args(["--config", &config(port), "run"]);
    let log = node.enter(|| File::options().create(true).append(true).open(log(port)))??;
    node.spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log))
}

/// Starts a program that reads one line.
fn begin(place: &Place, program: &str, arguments: &[&str], line: &str) -> Result<Process> {
    let mut command = Place::command(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = place.spawn(&mut command)?;
    let mut input = child.stdin.take().context("no input")?;
    // One that ended before it read says so by its status.
    let _unread = writeln!(input, "{line}");
    Ok(child)
}

/// Runs a program that reads one line.
fn spoken_to(place: &Place, program: &str, arguments: &[&str], line: &str) -> Result<Output> {
    let mut child = begin(place, program, arguments, line)?;
    let mut output = Output { status: child.wait()?, stdout: Vec::new(), stderr: Vec::new() };
    // They say little: a pipe holds it.
    if let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) {
        stdout.read_to_end(&mut output.stdout)?;
        stderr.read_to_end(&mut output.stderr)?;
    }
    Ok(output)
}
