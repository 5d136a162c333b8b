//! A node with one user, with or without the agent.

use std::fs;

use anyhow::Result;
use lab::{ALICE, Agent, AgentSetup, Ca, Identity, Lab, Login, Order, Place, Sshd, SshdSetup, eventually};

const PINNING: &str = r#"extension:roles@cotter=["pinned-ip"]"#;
const AT_ALICE: &str = "198.51.111.1/32";

/// What sshd asks for the principals: with `principals --user NAME`, and more.
const HOOK: &str = "/usr/lib/cotter/cotter-hook";
/// The shortest answer that a script can give.
const SCRIPT: &str = "#!/bin/sh\necho \"$3\"\n";
/// What PAM does for Cotter when a session begins and ends.
const PAM: &str = "/etc/pam.d/cotter";

/// The host's key, as the lab has it.
const HOST_KEY: &str = "/root/host";

/// A node, its sshd, and alice with a pinned certificate.
pub(crate) struct Node {
    identity: Identity,
    setup: SshdSetup,
    sshd: Option<Sshd>,
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
        let mut node =
            Self { identity, setup: SshdSetup::with_cotter(&ca)?, sshd: None, agent: Some(agent), lab };
        // Makes the host key.
        node.restart_sshd(60)?;
        Ok(node)
    }

    /// The same node, with the same keys and the same sshd, but where the hook would be is a shell script that prints the
    /// principal, and PAM runs none.
    pub(crate) fn with_script_instead(twin: &Self) -> Result<Self> {
        let lab = Lab::start()?;
        acknowledge_at_once(&lab)?;
        let node = lab.node();
        for file in [HOST_KEY, &twin.identity.key, &twin.identity.certificate()] {
            node.write(file, &twin.lab.node().read(file)?)?;
            node.run("chmod", &["600", file])?;
        }
        node.write(HOOK, SCRIPT)?;
        Ok(Self { identity: twin.identity.clone(), setup: twin.setup.clone(), sshd: None, agent: None, lab })
    }

    /// Starts sshd anew, with this time limit for logins.
    ///
    /// sshd stretches its answers to a client that has not proven anything yet: to 5 to 9 ms, or twice or four times that.
    /// How many exactly is drawn by lot from host key, configuration and login name; this hides some of what is to be
    /// measured, or doubles it. So nodes that are compared get the same lot, and each round another.
    pub(crate) fn restart_sshd(&mut self, grace_seconds: usize) -> Result<()> {
        self.sshd = None;
        self.sshd =
            Some(self.setup.clone().line(&format!("LoginGraceTime {grace_seconds}")).start(&self.lab)?);
        if self.agent.is_none() {
            self.lab.node().write(PAM, "session required pam_permit.so\n")?;
        }
        self.settle()
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
        settle(self.lab.node())
    }
}

/// Waits until sshd serves nobody.
pub(crate) fn settle(node: &Place) -> Result<()> {
    eventually("sshd is left alone", || Ok((node.enter(servers)?? <= 1).then_some(())))
}

/// Keeps TCP from holding back acknowledgements between alice and the node. sshd waits for some of them before it sends
/// on, and the kernel's timer for them is ten times as coarse as what is to be measured.
pub(crate) fn acknowledge_at_once(lab: &Lab) -> Result<()> {
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
