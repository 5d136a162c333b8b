//! A node with one user, with or without the agent.

use std::fs;

use anyhow::Result;
use lab::{ALICE, Agent, AgentSetup, Ca, Identity, Lab, Login, Order, Sshd, SshdSetup, eventually};

const PINNING: &str = r#"extension:roles@cotter=["pinned-ip"]"#;
const AT_ALICE: &str = "198.51.111.1/32";

/// Prints the principal, as the shortest script does that sshd can ask.
const SCRIPT: &str = "/usr/lib/cotter/print-principal";

/// The host's key, as the lab has it.
const HOST_KEY: &str = "/root/host";

/// A node, its sshd, and alice with a pinned certificate.
pub(crate) struct Node {
    identity: Identity,
    ca: Ca,
    _sshd: Sshd,
    agent: Option<Agent>,
    pub(crate) lab: Lab,
}

impl Node {
    /// sshd asks the agent.
    pub(crate) fn with_agent() -> Result<Self> {
        let lab = Lab::start()?;
        acknowledge_at_once(&lab)?;
        let ca = Ca::new(lab.node(), "example")?;
        let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
        let identity = ca.issue("alice", &order.pinned(AT_ALICE))?;
        let agent = AgentSetup::new("enforce")
            .cluster("example.com", &ca, "roles_from = \"cotter\"")?
            .role("pinned-ip", &["pin_source_ip: true"])
            .start(&lab)?;
        let sshd = SshdSetup::with_cotter(&ca)?.start(&lab)?;
        Ok(Self { identity, ca, _sshd: sshd, agent: Some(agent), lab })
    }

    /// The same node, with the same keys, but sshd asks a shell script. With keys of its own a login could take several
    /// milliseconds more or less: OpenSSH's Ed25519 takes longer for some than for others.
    pub(crate) fn with_script_instead(twin: &Self) -> Result<Self> {
        let lab = Lab::start()?;
        acknowledge_at_once(&lab)?;
        let identity = twin.identity.clone();
        for file in [HOST_KEY, &identity.key, &identity.certificate()] {
            lab.node().write(file, &twin.lab.node().read(file)?)?;
            lab.node().run("chmod", &["600", file])?;
        }
        lab.node().write(SCRIPT, "#!/bin/sh\necho \"$1\"\n")?;
        lab.node().run("chmod", &["755", SCRIPT])?;
        let sshd = SshdSetup::plain(&twin.ca)?
            .line(&format!("AuthorizedPrincipalsCommand {SCRIPT} %u"))
            .line("AuthorizedPrincipalsCommandUser nobody")
            .start(&lab)?;
        Ok(Self { identity, ca: twin.ca.clone(), _sshd: sshd, agent: None, lab })
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

/// Keeps TCP from holding back acknowledgements between alice and the node. sshd waits for some of them before it sends
/// on, and the kernel's timer for them is ten times as coarse as what is to be measured.
fn acknowledge_at_once(lab: &Lab) -> Result<()> {
    for (place, device) in [(lab.alice(), "eth0"), (lab.node().clone(), ALICE.device)] {
        let routes = place.run("ip", &["-4", "route", "show", "dev", device])?;
        for route in routes.lines() {
            let words = ["-4", "route", "change"].into_iter().chain(route.split_whitespace());
            place.run("ip", &words.chain(["dev", device, "quickack", "1"]).collect::<Vec<_>>())?;
        }
    }
    Ok(())
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
