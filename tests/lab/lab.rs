//! A lab: its namespaces, its files, its end.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::eventually::eventually;
use crate::network::{ALICE, ELSEWHERE, INSIDE, wire_up};
use crate::place::Place;

/// With the value `systemd`, all labs have it.
const KIND: &str = "COTTER_LAB";
/// What systemd starts the agent by.
const UNIT: &str = include_str!("../../packaging/systemd/cotter-agent.service");

/// A node and the hosts around it. Its processes, files, mounts, devices and kernel programs go away when it and all
/// that runs in it are dropped, and also when the process that owns it is killed.
#[derive(Debug)]
pub struct Lab {
    node: Place,
}

impl Lab {
    /// Sets up a lab; takes some hundred milliseconds. Needs root.
    pub fn start() -> Result<Self> {
        match env::var_os(KIND) {
            None => Self::on(Life::start(None)?),
            Some(kind) if kind == "systemd" => Self::with_systemd(),
            Some(kind) => bail!("{KIND}={}: there is no such lab", kind.display()),
        }
    }

    /// Sets up a lab whose init is a systemd, which starts the agent by its unit.
    pub fn with_systemd() -> Result<Self> {
        let lab = Self::on(Life::start(Some(new_group()?))?)?;
        let answers = || Path::new("/run/systemd/private").exists();
        eventually("the lab's systemd answers", || Ok(lab.node.enter(answers)?.then_some(())))?;
        Ok(lab)
    }

    fn on(life: Life) -> Result<Self> {
        let node = Place::node(Arc::new(life));
        wire_up(&node, &[ALICE, ELSEWHERE, INSIDE])?;
        Ok(Self { node })
    }

    /// Whether its init is a systemd.
    pub fn has_systemd(&self) -> bool {
        self.node.group().is_some()
    }

    /// The node: sshd and the agent run here.
    pub fn node(&self) -> &Place {
        &self.node
    }

    /// The cgroup below which the agent finds and makes those of sessions, from the hierarchy's root.
    pub fn sessions_cgroup(&self) -> &str {
        self.node.sessions_cgroup()
    }

    /// Where alice logs in: [`ALICE`].
    pub fn alice(&self) -> Place {
        self.node.host(ALICE.host)
    }

    /// Where her stolen certificate turns up: [`ELSEWHERE`].
    pub fn elsewhere(&self) -> Place {
        self.node.host(ELSEWHERE.host)
    }

    /// A host behind the node: [`INSIDE`].
    pub fn inside(&self) -> Place {
        self.node.host(INSIDE.host)
    }
}

/// The namespaces of a lab, held open, and the pipe that keeps the first process in them alive.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) mount: OwnedFd,
    /// The pid namespace that the children of whoever enters it are born in.
    pub(crate) children: OwnedFd,
    pub(crate) network: OwnedFd,
    /// The namespace of the host name.
    pub(crate) uts: OwnedFd,
    /// Where there is a systemd, its control group, as the caller sees it.
    pub(crate) group: Option<PathBuf>,
    /// The cgroup of the sessions, from the hierarchy's root.
    pub(crate) sessions: String,
    /// `unshare`, the parent of the lab's init.
    outer: Child,
    /// The pipe whose end is the end of the lab.
    lifeline: Option<ChildStdin>,
}

impl Life {
    fn start(group: Option<PathBuf>) -> Result<Self> {
        let mut begin = match &group {
            Some(group) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", include_str!("life.sh"), "life"]).arg(group).arg("unshare");
                shell
            }
            None => Command::new("unshare"),
        };
        begin
            .args(["--mount", "--pid", "--net", "--uts", "--fork", "--kill-child=KILL", "--mount-proc"])
            .args(["--propagation", "private", "sh", "-c", include_str!("stage.sh"), "stage"])
            .arg(binaries()?)
            .arg(UNIT);
        if let Some(group) = &group {
            begin.arg(group).arg(include_str!("boot.sh"));
        }
        begin.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        begin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut outer = begin.spawn().context("cannot run unshare (package util-linux)")?;
        let lifeline = outer.stdin.take();
        if let Err(error) = await_ready(&mut outer) {
            drop(lifeline);
            outer.wait()?;
            return Err(error);
        }
        let namespace = |kind: &str| -> Result<OwnedFd> {
            let path = format!("/proc/{}/ns/{kind}", outer.id());
            Ok(fs::File::open(&path).with_context(|| path)?.into())
        };
        Ok(Self {
            mount: namespace("mnt")?,
            children: namespace("pid_for_children")?,
            network: namespace("net")?,
            uts: namespace("uts")?,
            sessions: if group.is_some() { "user.slice".into() } else { new_slice() },
            group,
            outer,
            lifeline,
        })
    }
}

impl Life {
    /// The process that is its parent outside, and in its network.
    pub(crate) fn init(&self) -> u32 {
        self.outer.id()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // The kernel lets init end only after every other process of its pid namespace has ended and been waited for.
        if let Err(error) = self.outer.wait() {
            eprintln!("lab: cannot wait for its end: {error}");
        }
        if self.group.is_none()
            && let Err(error) = remove_slice(&self.sessions)
        {
            eprintln!("lab: its cgroups stay: {error}");
        }
    }
}

/// Waits for the stage script's word that all is set; its complaints become the error.
fn await_ready(outer: &mut Child) -> Result<()> {
    let stdout = outer.stdout.take().context("unshare without output")?;
    let mut word = String::new();
    BufReader::new(stdout).read_line(&mut word)?;
    if word.trim() == "ready" {
        return Ok(());
    }
    let mut complaint = String::new();
    if let Some(mut stderr) = outer.stderr.take() {
        stderr.read_to_string(&mut complaint)?;
    }
    bail!("cannot set up a lab (it needs root): {}", complaint.trim())
}

/// The directory of the built binaries: that of the running one, or, as test binaries lie in `deps`, the one above.
fn binaries() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot find the running binary")?;
    let directory = own.parent().context("a binary without a directory")?;
    let above = if directory.ends_with("deps") { directory.parent() } else { None };
    Ok(above.unwrap_or(directory).to_owned())
}

/// Where cgroup2 is mounted on this machine.
pub fn cgroup2() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let point = |line: &str| -> Option<PathBuf> {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| point.into())
    };
    mounts.lines().find_map(point).context("cgroup2 is not mounted")
}

/// A name for the cgroup of a lab's sessions, which the agent makes.
fn new_slice() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("cotter-lab-{}-{}.slice", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes the cgroup of a lab's sessions with those in it, once the kernel has let go of their last processes.
fn remove_slice(name: &str) -> Result<()> {
    let slice = cgroup2()?.join(name);
    eventually("the lab's cgroups are empty", || {
        remove_cgroup(&slice);
        Ok((!slice.exists()).then_some(()))
    })
}

/// Removes a cgroup and those below it, as far as nobody is in them.
fn remove_cgroup(path: &Path) {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for below in entries.filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&below.path());
    }
    let _populated = fs::remove_dir(path);
}

/// Makes a control group for a lab.
fn new_group() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let group = cgroup2()?.join(format!("cotter-lab-{}-{number}", std::process::id()));
    fs::create_dir(&group).with_context(|| group.display().to_string())?;
    Ok(group)
}
