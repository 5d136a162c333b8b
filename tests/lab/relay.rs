//! A real relay on the node.

use std::process::Stdio;

use anyhow::Result;

use crate::agent::{AGENT, CONFIG};
use crate::haproxy::listens;
use crate::lab::Lab;
use crate::place::Place;
use crate::process::Process;

/// What systemd starts it by.
const UNIT: &str = include_str!("../../packaging/systemd/cotter-relay.service");
/// What lets a bastion's agent onto the network.
const VOUCH: &str = include_str!("../../packaging/systemd/vouch.conf");
const NAME: &str = "cotter-relay.service";
const LOG: &str = "/var/log/cotter/relay.log";
/// What its unit leaves it, where there is no systemd: a user of its own, and two capabilities.
const LEFT: [&str; 6] = [
    "--reuid=_cotter-relay",
    "--regid=_cotter-relay",
    "--clear-groups",
    "--inh-caps=-all,+net_raw,+net_bind_service",
    "--ambient-caps=-all,+net_raw,+net_bind_service",
    "--bounding-set=-all,+net_raw,+net_bind_service",
];

/// A running relay; connections that it has begun outlive it.
#[derive(Debug)]
pub struct Relay {
    node: Place,
    /// Where it listens to balancers, if it does.
    port: Option<u16>,
    /// None where systemd has it.
    process: Option<Process>,
}

impl Relay {
    /// Starts one by the node's configuration, and waits until it listens at this port.
    pub fn start(lab: &Lab, port: u16) -> Result<Self> {
        Self::begin(lab, Some(port))
    }

    /// Starts one that has the connections of bastions alone.
    pub fn for_bastions(lab: &Lab) -> Result<Self> {
        Self::begin(lab, None)
    }

    fn begin(lab: &Lab, port: Option<u16>) -> Result<Self> {
        let node = lab.node().clone();
        let process = if lab.has_systemd() {
            node.write(format!("/usr/lib/systemd/system/{NAME}"), UNIT)?;
            node.run("systemctl", &["daemon-reload"])?;
            node.run("systemctl", &["start", NAME])?;
            None
        } else {
            Some(spawn(&node)?)
        };
        let relay = Self { node, port, process };
        relay.listens()?;
        Ok(relay)
    }

    /// Starts another one in its place.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.take().is_some() {
            self.process = Some(spawn(&self.node)?);
        } else {
            self.node.run("systemctl", &["restart", NAME])?;
        }
        self.listens()
    }

    /// Ends it.
    pub fn stop(&mut self) -> Result<()> {
        if self.process.take().is_none() {
            self.node.run("systemctl", &["stop", NAME])?;
        }
        Ok(())
    }

    fn listens(&self) -> Result<()> {
        match self.port {
            Some(port) => listens(&self.node, port),
            // Whoever comes before it is there is closed, and tries again.
            None => Ok(()),
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> Result<String> {
        if self.process.is_some() {
            return self.node.read(LOG);
        }
        self.node.run("journalctl", &["--sync"])?;
        self.node.run("journalctl", &["--quiet", "--output", "cat", "--unit", NAME])
    }
}

fn spawn(node: &Place) -> Result<Process> {
    let mut shell = Place::command("sh");
    shell.args(["-c", "log=\"$0\"; exec \"$@\" >>\"$log\" 2>&1", LOG, "setpriv"]);
    shell.args(LEFT).args([AGENT, "relay", "--config", CONFIG]);
    node.spawn(shell.stdin(Stdio::null()))
}

impl Lab {
    /// The unit's drop-in for bastions, if there is a systemd; it counts from the agent's next start.
    pub fn let_the_agent_vouch(&self) -> Result<()> {
        if !self.has_systemd() {
            return Ok(());
        }
        self.node().write("/etc/systemd/system/cotter-agent.service.d/vouch.conf", VOUCH)?;
        self.node().run("systemctl", &["daemon-reload"]).map(drop)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.process.is_none() {
            let _with_the_lab = self.node.run("systemctl", &["stop", NAME]);
        }
    }
}
