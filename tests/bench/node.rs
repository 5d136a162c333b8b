//! A node with one user, with or without the agent.

use std::fs;

use anyhow::Result;
use lab::{Agent, AgentSetup, Ca, Identity, Lab, Login, Order, Sshd, SshdSetup, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

const PINNING: &str = r#"extension:roles@cotter=["pinned-ip"]"#;
const AT_ALICE: &str = "198.51.111.1/32";

/// Prints the principal, as the shortest script does that sshd can ask.
const SCRIPT: &str = "/usr/lib/cotter/print-principal";

/// How many open files a service may have unless it asks for more, as systemd sets it. `pam_exec` closes as many as
/// there may be before it runs anything, which takes long where there is no such limit.
const OPEN_FILES: u64 = 1024;

const HIGHEST_PRIORITY: i32 = -20;

/// Limits this process, and what it starts, like a service of systemd; and puts them before everything else that the
/// machine may be busy with.
pub(crate) fn limit_like_systemd() -> Result<()> {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum: hard })?;
    Ok(setpriority_process(None, HIGHEST_PRIORITY)?)
}

/// A node, its sshd, and alice with a pinned certificate.
pub(crate) struct Node {
    identity: Identity,
    _sshd: Sshd,
    agent: Option<Agent>,
    pub(crate) lab: Lab,
}

impl Node {
    /// sshd asks the agent.
    pub(crate) fn with_agent() -> Result<Self> {
        let lab = Lab::start()?;
        let ca = Ca::new(lab.node(), "ca")?;
        let agent = AgentSetup::new("enforce")
            .cluster("example.com", &ca, "roles_from = \"cotter\"")?
            .role("pinned-ip", &["pin_source_ip: true"])
            .start(&lab)?;
        Self::finish(lab, &ca, &SshdSetup::with_cotter(&ca)?, Some(agent))
    }

    /// sshd asks a shell script.
    pub(crate) fn with_script() -> Result<Self> {
        let lab = Lab::start()?;
        let ca = Ca::new(lab.node(), "ca")?;
        lab.node().write(SCRIPT, "#!/bin/sh\necho \"$1\"\n")?;
        lab.node().run("chmod", &["755", SCRIPT])?;
        let sshd = SshdSetup::plain(&ca)?
            .line(&format!("AuthorizedPrincipalsCommand {SCRIPT} %u"))
            .line("AuthorizedPrincipalsCommandUser nobody");
        Self::finish(lab, &ca, &sshd, None)
    }

    fn finish(lab: Lab, ca: &Ca, sshd: &SshdSetup, agent: Option<Agent>) -> Result<Self> {
        let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
        let identity = ca.issue("alice", &order.pinned(AT_ALICE))?;
        Ok(Self { identity, _sshd: sshd.start(&lab)?, agent, lab })
    }

    /// Alice's way in. The default key exchange takes several times as long as all the rest together, and as much longer
    /// or shorter each time as the agent takes at all.
    pub(crate) fn login(&self) -> Login {
        Login::new(&self.lab.alice(), &self.identity, "alice").option("-oKexAlgorithms=curve25519-sha256")
    }

    /// The agent, if there is one.
    pub(crate) fn agent(&self) -> Option<&Agent> {
        self.agent.as_ref()
    }

    /// Waits until nothing is left of earlier logins.
    pub(crate) fn settle(&self) -> Result<()> {
        eventually("sshd is left alone", || Ok((self.lab.node().enter(servers)?? <= 1).then_some(())))
    }
}

/// How many processes of sshd there are, the listening one included.
fn servers() -> std::io::Result<usize> {
    let mut count = 0;
    for process in fs::read_dir("/proc")? {
        // Whatever is no process has no command line, and that of one that has ended is empty.
        let name = fs::read(process?.path().join("cmdline")).unwrap_or_default();
        count += usize::from(name.starts_with(b"sshd:"));
    }
    Ok(count)
}
