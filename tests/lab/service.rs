//! What runs an agent: the node's systemd, by the package's unit.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::place::Place;
use crate::runner::Runner;

const UNIT: &str = "cotter-agent.service";
/// Its control group, below that of the lab.
const GROUP: &str = "system.slice/cotter-agent.service";

/// An agent that systemd starts. The unit restarts one that ends by itself; that is kept from happening as soon as
/// somebody looks, within `RestartSec` of a second.
#[derive(Debug)]
pub(crate) struct Service {
    node: Place,
    launched: bool,
    /// The invocation before the one that was launched.
    former: String,
}

impl Service {
    pub(crate) fn new(node: Place) -> Self {
        Self { node, launched: false, former: String::new() }
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<String> {
        self.node.run("systemctl", arguments)
    }

    /// Properties of the unit by name.
    fn properties(&self) -> Result<HashMap<String, String>> {
        let names = "InvocationID,SubState,Result,MainPID,ExecMainCode,ExecMainStatus,NRestarts";
        let shown = self.systemctl(&["show", "--property", names, UNIT])?;
        Ok(shown.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect())
    }

    /// Ends whatever is going on; nothing restarts it then.
    fn settle(&mut self) -> Result<HashMap<String, String>> {
        self.systemctl(&["stop", UNIT])?;
        let properties = self.properties()?;
        ensure!(properties["NRestarts"] == "0", "systemd has restarted the agent before anybody looked");
        self.launched = false;
        Ok(properties)
    }
}

/// What a process is called in the innermost pid namespace that it is in, that of the lab.
fn inner_pid(pid: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().last().map(str::to_owned)
}

/// The exit status in the properties of a unit whose main process has ended.
fn status(properties: &HashMap<String, String>) -> Result<ExitStatus> {
    let number: i32 = properties["ExecMainStatus"].parse()?;
    // As in waitpid(2); ExecMainCode is the `si_code` of waitid(2).
    match properties["ExecMainCode"].as_str() {
        "1" => Ok(ExitStatus::from_raw(number << 8)),
        "2" | "3" => Ok(ExitStatus::from_raw(number)),
        _ => bail!("systemd did not get as far as the agent: {}", properties["Result"]),
    }
}

impl Runner for Service {
    fn launch(&mut self) -> Result<()> {
        self.former = self.properties()?.remove("InvocationID").context("no InvocationID")?;
        self.systemctl(&["start", "--no-block", UNIT])?;
        self.launched = true;
        Ok(())
    }

    fn is_launched(&self) -> bool {
        self.launched
    }

    fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        let seen = self.properties()?;
        let begun = seen["InvocationID"] != self.former;
        if begun && ["auto-restart", "failed", "dead"].contains(&seen["SubState"].as_str()) {
            if self.launched {
                self.settle()?;
            }
            return status(&seen).map(Some);
        }
        Ok(None)
    }

    fn kill9(&mut self) -> Result<()> {
        // It may have ended by itself.
        if let Ok(pid) = self.pid() {
            kill_process(pid, Signal::KILL)?;
        }
        self.settle().map(drop)
    }

    fn stop(&mut self) -> Result<ExitStatus> {
        status(&self.settle()?)
    }

    fn pid(&self) -> Result<Pid> {
        let group = self.node.group().context("a lab without systemd")?.join(GROUP).join("cgroup.procs");
        let processes = fs::read_to_string(&group).with_context(|| group.display().to_string())?;
        let main = self.properties()?.remove("MainPID").context("no MainPID")?;
        let pid = processes.lines().find(|pid| inner_pid(pid).as_ref() == Some(&main));
        Pid::from_raw(pid.context("the agent does not run")?.parse()?).context("a process id of zero")
    }

    fn log(&self) -> Result<String> {
        self.node.run("journalctl", &["--sync"])?;
        self.node.run("journalctl", &["--quiet", "--output", "cat", "--unit", UNIT])
    }
}
