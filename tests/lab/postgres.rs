//! A real PostgreSQL, reached by a Unix socket of its own and, unless it is opened, by nothing else.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::eventually::eventually;
use crate::lab::Lab;
use crate::network::NODE_V4;
use crate::place::Place;
use crate::process::Process;

/// Where Debian's package has its programs, below a directory for each version.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// Data and socket, on the lab's own memory.
const DIRECTORY: &str = "/run/postgres";
const DATA: &str = "/run/postgres/data";
/// Whom it believes.
const HBA: &str = "/run/postgres/data/pg_hba.conf";
/// It refuses to be root.
const AS_POSTGRES: [&str; 5] = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"];
/// Beside these it is as Debian has it: it writes through to the disk, which is memory here, before it acknowledges.
const SETTINGS: [&str; 2] = ["dynamic_shared_memory_type=mmap", "max_connections=60"];

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    node: Place,
    process: Process,
    /// Where it listens beside its socket.
    address: Option<Ipv4Addr>,
}

impl Postgres {
    /// Makes one on the node, with an empty database, and starts it.
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::make(lab, None)
    }

    /// The same one that listens at the node's address as well, and believes whoever reaches it.
    pub fn open(lab: &Lab) -> Result<Self> {
        Self::make(lab, Some(NODE_V4))
    }

    fn make(lab: &Lab, address: Option<Ipv4Addr>) -> Result<Self> {
        let node = lab.node().clone();
        node.run("install", &["-d", "-o", "postgres", "-g", "postgres", "-m", "755", DIRECTORY])?;
        let initdb = program("initdb")?;
        let made =
            ["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres", DATA];
        node.run(AS_POSTGRES[0], &[&AS_POSTGRES[1..], &[&initdb], &made].concat())?;
        if address.is_some() {
            let trusting = format!("{}host all all all trust\n", node.read(HBA)?);
            node.write(HBA, &trusting)?;
        }
        Ok(Self { process: launch(&node, address)?, node, address })
    }

    /// Ends it as a loss of power does: without a word to anybody, and with nothing put in order.
    pub fn crash(&mut self) -> Result<()> {
        self.signal(Signal::QUIT)?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.process = launch(&self.node, self.address)?;
        Ok(())
    }

    /// What an authority calls it.
    pub fn url() -> String {
        format!("postgres:///postgres?host={DIRECTORY}&user=postgres")
    }

    /// Runs one of its programs, such as `pg_dump`, on its database; what it printed.
    pub(crate) fn run(node: &Place, name: &str, arguments: &[&str]) -> Result<String> {
        node.run(&program(name)?, &[&["--host", DIRECTORY, "--username=postgres"], arguments].concat())
    }

    /// Tells it a statement; the rows that it answers, one a line.
    pub fn ask(&self, statement: &str) -> Result<Vec<String>> {
        let rows = ["--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command"];
        let answer = Self::run(&self.node, "psql", &[&rows[..], &[statement]].concat())?;
        Ok(answer.lines().map(str::to_owned).collect())
    }

    /// Stops it and those that serve its connections.
    pub fn pause(&self) -> Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Lets them go on.
    pub fn resume(&self) -> Result<()> {
        self.signal_all(Signal::CONT)
    }

    fn signal_all(&self, signal: Signal) -> Result<()> {
        self.signal(signal)?;
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.process.id()))?;
        for child in children.split_whitespace() {
            let pid = Pid::from_raw(child.parse()?).context("a process id of zero")?;
            // One that has just ended cannot be stopped.
            let _ended = kill_process(pid, signal);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.process.pid()?, signal)?)
    }
}

impl Drop for Postgres {
    /// Its own processes end with it only if it is asked.
    fn drop(&mut self) {
        if self.signal(Signal::QUIT).is_ok() {
            let _ended = self.process.wait();
        }
    }
}

/// Starts it and waits until it answers.
fn launch(node: &Place, address: Option<Ipv4Addr>) -> Result<Process> {
    // In an IPC namespace of its own, with which its shared memory goes away however it ends.
    let mut command = Place::command("unshare");
    command.arg("--ipc").args(AS_POSTGRES).arg(program("postgres")?);
    command.args(["-D", DATA, "-k", DIRECTORY]);
    command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    command.args(["-c", &format!("listen_addresses={address}")]);
    let process = node.spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let is_ready = program("pg_isready")?;
    let answers = || node.output(Place::command(&is_ready).args(["--quiet", "--host", DIRECTORY]));
    eventually("PostgreSQL answers", || Ok(answers()?.status.success().then_some(())))?;
    Ok(process)
}

/// A program of the newest version.
fn program(name: &str) -> Result<String> {
    let entries = fs::read_dir(PROGRAMS).with_context(|| format!("{PROGRAMS} (package postgresql)"))?;
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = entries.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(version);
    let newest = newest.with_context(|| format!("{PROGRAMS} is empty (package postgresql)"))?;
    Ok(newest.join("bin").join(name).display().to_string())
}
