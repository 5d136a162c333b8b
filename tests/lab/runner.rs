//! What runs an agent: the test itself.

use std::fmt::Debug;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::agent::{AGENT, CONFIG};
use crate::eventually::eventually;
use crate::place::Place;
use crate::process::Process;

const LOG: &str = "/var/log/cotter/agent.log";

/// Runs an agent and knows how it is. An agent that has ended stays so until it is launched again.
pub(crate) trait Runner: Debug + Send + Sync {
    /// Starts it without waiting for anything.
    fn launch(&mut self) -> Result<()>;

    /// Whether it has been launched, and neither killed nor stopped since.
    fn is_launched(&self) -> bool;

    /// How it ended by itself, if it has.
    fn exit_status(&mut self) -> Result<Option<ExitStatus>>;

    /// Kills it at once.
    fn kill9(&mut self) -> Result<()>;

    /// Asks it to end and waits until it has.
    fn stop(&mut self) -> Result<ExitStatus>;

    /// Its process id in the caller's eyes.
    fn pid(&self) -> Result<Pid>;

    /// What it has said on its standard output and error so far.
    fn log(&self) -> Result<String>;
}

/// An agent that is a child of the test.
#[derive(Debug)]
pub(crate) struct Alone {
    node: Place,
    child: Option<Process>,
}

impl Alone {
    pub(crate) fn new(node: Place) -> Self {
        Self { node, child: None }
    }

    fn child(&mut self) -> Result<&mut Process> {
        self.child.as_mut().context("the agent does not run")
    }
}

impl Runner for Alone {
    fn launch(&mut self) -> Result<()> {
        let present = self.node.enter(|| Path::new(AGENT).exists())?;
        if !present {
            bail!("no agent to run; build it first: cargo build -p cotter-agent -p cotter-hook");
        }
        let mut shell = Place::command("sh");
        shell.args(["-c", "log=\"$0\"; exec \"$@\" >>\"$log\" 2>&1", LOG]);
        shell.args([AGENT, "run", "--config", CONFIG]);
        self.child = Some(self.node.spawn(shell.stdin(Stdio::null()))?);
        Ok(())
    }

    fn is_launched(&self) -> bool {
        self.child.is_some()
    }

    fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child()?.try_wait()?)
    }

    fn kill9(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the agent does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn stop(&mut self) -> Result<ExitStatus> {
        kill_process(self.pid()?, Signal::TERM)?;
        let status = eventually("the agent ends", || Ok(self.child()?.try_wait()?))?;
        self.child = None;
        Ok(status)
    }

    fn pid(&self) -> Result<Pid> {
        self.child.as_ref().context("the agent does not run")?.pid()
    }

    fn log(&self) -> Result<String> {
        self.node.read(LOG)
    }
}
