//! A real agent on the node.

use std::fmt::Write as _;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::ca::Ca;
use crate::eventually::{eventually, within};
use crate::lab::Lab;
use crate::network::{ALICE, ELSEWHERE};
use crate::pause::Paused;
use crate::place::Place;
use crate::runner::{Alone, Runner};
use crate::service::Service;

/// Where the package puts the agent.
pub const AGENT: &str = "/usr/sbin/cotter-agent";
pub(crate) const CONFIG: &str = "/etc/cotter/agent.toml";
/// How long an agent may take to answer: where software runs the kernel, its verifier is busy for half a minute.
const START: Duration = Duration::from_secs(100);
const EVENTS: &str = "/var/log/cotter/events.jsonl";

/// What stands in an agent's configuration and roles directory.
#[derive(Clone, Debug)]
pub struct AgentSetup {
    top: String,
    clusters: String,
    authorities: Vec<(String, String)>,
    roles: Vec<(String, String)>,
}

impl AgentSetup {
    /// An agent in the mode, on the two outer wires, with no cluster yet.
    pub fn new(mode: &str) -> Self {
        let mut top = format!("mode = \"{mode}\"\n");
        let _ = writeln!(top, "interfaces = [\"{}\", \"{}\"]", ALICE.device, ELSEWHERE.device);
        let _ = writeln!(top, "event_log = \"{EVENTS}\"");
        Self { top, clusters: String::new(), authorities: Vec::new(), roles: Vec::new() }
    }

    /// Adds a line to the top of the configuration.
    pub fn line(mut self, line: &str) -> Self {
        self.top.push_str(line);
        self.top.push('\n');
        self
    }

    /// Adds lines behind all others, such as a table.
    pub fn last(mut self, lines: &str) -> Self {
        self.clusters.push_str(lines);
        self.clusters.push('\n');
        self
    }

    /// Accepts the user certificates of `ca` as those of a cluster; `rest` are the further lines of its table, such as
    /// `default_roles = ["pinned-ip"]`.
    pub fn cluster(self, name: &str, ca: &Ca, rest: &str) -> Result<Self> {
        self.table("cluster", name, ca, rest)
    }

    /// The same for a trusted cluster, whose `rest` holds its role map.
    pub fn trusted_cluster(self, name: &str, ca: &Ca, rest: &str) -> Result<Self> {
        self.table("trusted_cluster", name, ca, rest)
    }

    fn table(mut self, kind: &str, name: &str, ca: &Ca, rest: &str) -> Result<Self> {
        let keys = format!("/etc/cotter/ca/{name}.pub");
        let _ = writeln!(self.clusters, "\n[[{kind}]]\nname = \"{name}\"\nuser_ca = \"{keys}\"\n{rest}");
        self.authorities.push((keys, ca.public_key()?));
        Ok(self)
    }

    /// Adds a role that allows every login that the certificate carries; `options` are lines of its `spec.options`,
    /// such as `pin_source_ip: true`.
    pub fn role(mut self, name: &str, options: &[&str]) -> Self {
        let mut role = format!("kind: role\nversion: v7\nmetadata:\n  name: {name}\nspec:\n");
        if !options.is_empty() {
            role.push_str("  options:\n");
        }
        for option in options {
            let _ = writeln!(role, "    {option}");
        }
        role.push_str("  allow:\n    logins: ['{{internal.logins}}']\n");
        self.roles.push((name.to_owned(), role));
        self
    }

    /// Writes all of it to the node.
    pub fn write(&self, lab: &Lab) -> Result<()> {
        let node = lab.node();
        let sessions = format!("sessions_cgroup = \"{}\"\n", lab.sessions_cgroup());
        node.write(CONFIG, &format!("{}{sessions}{}", self.top, self.clusters))?;
        for (path, keys) in &self.authorities {
            node.write(path, keys)?;
        }
        self.write_roles(lab)
    }

    /// Writes the roles alone.
    pub fn write_roles(&self, lab: &Lab) -> Result<()> {
        for (name, role) in &self.roles {
            lab.node().write(format!("/etc/cotter/roles.d/{name}.yaml"), role)?;
        }
        Ok(())
    }

    /// Writes all of it to the node, starts an agent and waits until it answers.
    pub fn start(&self, lab: &Lab) -> Result<Agent> {
        self.write(lab)?;
        let node = lab.node().clone();
        let runner: Box<dyn Runner> = if lab.has_systemd() {
            Box::new(Service::new(node.clone()))
        } else {
            Box::new(Alone::new(node.clone()))
        };
        let mut agent = Agent { node, runner };
        agent.start()?;
        Ok(agent)
    }
}

/// A running agent. What it has put into the kernel outlives it, and goes with the lab.
#[derive(Debug)]
pub struct Agent {
    node: Place,
    runner: Box<dyn Runner>,
}

impl Agent {
    /// Starts it (again) with the configuration as it lies on the node, and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        within(START, "the agent answers `status`", || {
            if let Some(status) = self.exit_status()? {
                bail!("the agent ended with {status}: {}", self.log()?);
            }
            Ok(self.cli(&["status", "--json"])?.status.success().then_some(()))
        })
    }

    /// Starts it unless it runs.
    pub fn ensure_runs(&mut self) -> Result<()> {
        if self.runner.is_launched() { Ok(()) } else { self.start() }
    }

    /// Starts it without waiting for anything.
    pub fn launch(&mut self) -> Result<()> {
        self.runner.launch()
    }

    /// Kills it at once, as a crash would.
    pub fn kill9(&mut self) -> Result<()> {
        self.runner.kill9()
    }

    /// Asks it to end and waits until it has.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.runner.stop()
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.runner.exit_status()
    }

    /// Sends it a signal: `HUP` makes it reload, `STOP` makes it hang, `CONT` wakes it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// Has something happen of which it sees no part before all of it is done.
    pub fn behind_its_back<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let _paused = Paused::new(self.pid()?)?;
        work()
    }

    /// Its process id in the caller's eyes.
    pub fn pid(&self) -> Result<Pid> {
        self.runner.pid()
    }

    /// Runs `cotter-agent` on the node with the arguments.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        self.node.output(Place::command(AGENT).args(arguments).stdin(Stdio::null()))
    }

    /// Runs `cotter-agent` with the arguments, which must succeed; what it printed.
    pub fn told(&self, arguments: &[&str]) -> Result<String> {
        self.node.run(AGENT, arguments)
    }

    /// Runs `cotter-agent` with the arguments and `--json`; what it printed, whatever its exit code.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.cli(&[arguments, &["--json"]].concat())?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("cotter-agent {}: {}: {complaint}", arguments.join(" "), output.status))
    }

    /// What it has said on its standard output and error so far.
    pub fn log(&self) -> Result<String> {
        self.runner.log()
    }

    /// The audit events written so far, oldest first.
    pub fn events(&self) -> Result<Vec<Value>> {
        let text = match self.node.enter(|| std::fs::read_to_string(EVENTS))? {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.context(EVENTS)?,
        };
        // The last line may be half written; it will be whole at the next look.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Waits for the first audit event that `fits`.
    pub fn event(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        self.event_since(Mark::default(), what, fits)
    }

    /// The end of the audit events written so far.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(self.events()?.len()))
    }

    /// Waits for the first audit event behind the mark that `fits`: what was written before counts for nothing.
    pub fn event_since(&self, mark: Mark, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(what, || Ok(self.events()?.into_iter().skip(mark.0).find(&fits)))
    }
}

/// A place between two audit events; by default before all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark(usize);
