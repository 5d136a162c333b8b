//! Where a thing happens: on the node, or on a host around it.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::lab::Life;
use crate::process::Process;

/// The node or a host: a network of its own, and the files and processes that all of one lab share.
#[derive(Clone, Debug)]
pub struct Place {
    life: Arc<Life>,
    /// Name of the network namespace below `/run/netns` of the lab; the node has none.
    host: Option<String>,
}

impl Place {
    pub(crate) fn node(life: Arc<Life>) -> Self {
        Self { life, host: None }
    }

    pub(crate) fn host(&self, name: &str) -> Self {
        Self { life: Arc::clone(&self.life), host: Some(name.to_owned()) }
    }

    /// The control group of the lab's systemd, if it has one, as the caller sees it.
    pub(crate) fn group(&self) -> Option<&Path> {
        self.life.group.as_deref()
    }

    /// The cgroup of the sessions, from the hierarchy's root.
    pub(crate) fn sessions_cgroup(&self) -> &str {
        &self.life.sessions
    }

    /// The process that stands for the lab, in the caller's eyes: it is in the node's network.
    pub(crate) fn init(&self) -> u32 {
        self.life.init()
    }

    /// What people call this place.
    pub fn name(&self) -> &str {
        self.host.as_deref().unwrap_or("node")
    }

    /// Runs `act` in this place, on a thread that is in its namespaces; sockets, files and processes that it makes
    /// belong there. It cannot start threads (its children live in another pid namespace).
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.join().map(|()| act()));
            match thread.join() {
                Ok(result) => result.with_context(|| format!("cannot enter {}", self.name())),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn join(&self) -> Result<()> {
        leave_shared_file_system_state()?;
        let into = |fd: &OwnedFd, kind| move_into_link_name_space(fd.as_fd(), Some(kind));
        into(&self.life.children, LinkNameSpaceType::ProcessID)?;
        into(&self.life.network, LinkNameSpaceType::Network)?;
        into(&self.life.uts, LinkNameSpaceType::HostNameAndNISDomainName)?;
        into(&self.life.mount, LinkNameSpaceType::Mount)?;
        if let Some(host) = &self.host {
            let network = fs::File::open(Path::new("/run/netns").join(host))?.into();
            into(&network, LinkNameSpaceType::Network)?;
        }
        Ok(())
    }

    /// The network namespace's identity, as `/proc/PID/ns/net` shows it of the processes that live in it.
    pub fn network_namespace(&self) -> Result<String> {
        let link = match &self.host {
            Some(_) => self.enter(|| fs::read_link("/proc/thread-self/ns/net"))??,
            None => fs::read_link(format!("/proc/self/fd/{}", self.life.network.as_raw_fd()))?,
        };
        Ok(link.to_string_lossy().into_owned())
    }

    /// A command with the lab's search path and nothing of the caller's environment.
    pub fn command(program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/lib/cotter:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C")
            .current_dir("/");
        command
    }

    /// Starts `command` here.
    pub fn spawn(&self, command: &mut Command) -> Result<Process> {
        let child = self.enter(|| command.spawn())?;
        let child = child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Process::new(self.clone(), child))
    }

    /// Runs `command` here to its end.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        self.enter(|| command.output())?
            .with_context(|| format!("cannot run {}", command.get_program().display()))
    }

    /// Runs `program` here; what it printed, or an error with what it complained of if it failed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.output(Self::command(program).args(arguments))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{program} {} on {}: {}: {}",
                arguments.join(" "),
                self.name(),
                output.status,
                complaint.trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Writes a file of the lab, readable for all, and its directory.
    pub fn write(&self, path: impl AsRef<Path> + Sync, text: &str) -> Result<()> {
        let path = path.as_ref();
        self.enter(|| {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            fs::write(path, text)
        })?
        .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads a file of the lab.
    pub fn read(&self, path: impl AsRef<Path> + Sync) -> Result<String> {
        let path = path.as_ref();
        self.enter(|| fs::read_to_string(path))?.with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Threads of a process share root and working directory, and with them the mount namespace; this one stops to.
fn leave_shared_file_system_state() -> rustix::io::Result<()> {
    #[expect(deprecated, reason = "the safe form; only UnshareFlags::FILES makes it unsound")]
    rustix::thread::unshare(UnshareFlags::FS)
}
