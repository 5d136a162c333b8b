//! Bastions one behind the other, and a node behind the last.

use std::net::IpAddr;

use anyhow::{Context, Result};
use lab::{
    ALICE, Agent, AgentSetup, Ca, Identity, Joint, Lab, Login, NODE_V4, NODE_V6, Order, Place, Relay, Sshd,
    SshdSetup, eventually,
};

use crate::scene::{AT_ALICE, OPEN, PINNING, Scene};

/// What every bastion says of itself.
const VOUCH: &str = "[vouch]\nnodes = [\"203.0.113.0/24\", \"2001:db8:f::/48\"]\n";
/// What ssh goes by on users' machines.
const CONFIG: &str = "/root/jumps";

/// A family of addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    V4,
    V6,
}

impl By {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(super) fn of(self, v4: impl Into<IpAddr>, v6: impl Into<IpAddr>) -> IpAddr {
        match self {
            Self::V4 => v4.into(),
            Self::V6 => v6.into(),
        }
    }
}

/// A node that is reached by what stands before it, or a bastion that is.
pub(super) struct Behind {
    pub(super) relay: Relay,
    pub(super) agent: Agent,
    _sshd: Sshd,
    pub(super) lab: Lab,
    /// The wire to what stands before it.
    pub(super) joint: Joint,
}

/// All of them.
pub(super) struct Chain {
    /// The nearest first; the last one is the node.
    pub(super) behind: Vec<Behind>,
    /// Where users come in.
    pub(super) bastion: Scene,
}

impl Chain {
    /// So many bastions, and a node that enforces.
    pub(super) fn of(bastions: u8) -> Result<Self> {
        Self::with(bastions, AgentSetup::new("enforce"))
    }

    /// So many bastions, and a node whose agent is told this beside the usual.
    pub(super) fn with(bastions: u8, node: AgentSetup) -> Result<Self> {
        let lab = Lab::start()?;
        lab.let_the_agent_vouch()?;
        let bastion = Scene::in_lab(lab, "enforce", |agent| agent.last(VOUCH), |sshd| sshd)?;
        let mut chain = Self { behind: Vec::new(), bastion };
        for number in 1..bastions {
            chain.extend(number - 1, AgentSetup::new("enforce").last(VOUCH))?;
        }
        chain.extend(bastions - 1, node)?;
        Ok(chain)
    }

    fn extend(&mut self, number: u8, setup: AgentSetup) -> Result<()> {
        let before = self.behind.last().map_or((&self.bastion.lab, &self.bastion.agent), Behind::place);
        self.behind.push(Behind::start(before, &self.bastion.ca, number, setup)?);
        Ok(())
    }

    /// The node.
    pub(super) fn node(&self) -> Result<&Behind> {
        self.behind.last().context("there is no node")
    }

    /// The same, to kill its agent, say.
    pub(super) fn node_mut(&mut self) -> Result<&mut Behind> {
        self.behind.last_mut().context("there is no node")
    }

    /// A login at the node, over all bastions, where the first identity gets in.
    pub(super) fn login(
        &self,
        from: &Place,
        at: By,
        to_bastions: &Identity,
        identity: &Identity,
    ) -> Result<Login> {
        let (to, jumps) = self.prepare(at, to_bastions, identity)?;
        let login = Login::new(from, identity, "alice").to(to);
        Ok(login.option(&format!("-F{CONFIG}")).option(&format!("-J{jumps}")))
    }

    /// What stands in users' configuration for such a login, `ssh -F … node`: where it leads, and by which bastions.
    fn prepare(&self, at: By, to_bastions: &Identity, identity: &Identity) -> Result<(IpAddr, String)> {
        let farther = self.behind.iter().map(|behind| at.of(behind.joint.far_v4(), behind.joint.far_v6()));
        let all: Vec<IpAddr> = [at.of(NODE_V4, NODE_V6)].into_iter().chain(farther).collect();
        let (to, bastions) = all.split_last().context("there is no node")?;
        let account = if to_bastions.key.ends_with("/bob") { "bob" } else { "alice" };
        let mut config = String::new();
        for (number, address) in bastions.iter().enumerate() {
            let key = &to_bastions.key;
            config +=
                &format!("Host bastion{number}\n HostName {address}\n User {account}\n IdentityFile {key}\n");
        }
        let names: Vec<String> = (0..bastions.len()).map(|number| format!("bastion{number}")).collect();
        let jumps = names.join(",");
        let key = &identity.key;
        config +=
            &format!("Host node\n HostName {to}\n User alice\n IdentityFile {key}\n ProxyJump {jumps}\n");
        config += "Match all\n Include /etc/ssh/ssh_config\n";
        self.bastion.lab.node().write(CONFIG, &config)?;
        Ok((*to, jumps))
    }

    /// Has plain `ssh`, `scp` and `rsync` with this `-F` know the node.
    pub(super) fn configure(&self, identity: &Identity) -> Result<&'static str> {
        self.prepare(By::V4, identity, identity).map(|_| CONFIG)
    }

    /// Alice's certificate, good for both of her addresses.
    pub(super) fn alice(&self) -> Result<Identity> {
        let pins = format!("{AT_ALICE},{}/128", ALICE.v6);
        let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
        self.bastion.ca.issue("alice", &order.pinned(&pins))
    }

    /// Of somebody who gets into bastions from everywhere.
    pub(super) fn bob(&self) -> Result<Identity> {
        self.bastion.ca.issue("bob", &Order { options: &[OPEN], ..Order::login("bob", &["bob"]) })
    }
}

impl Behind {
    fn start(before: (&Lab, &Agent), ca: &Ca, number: u8, setup: AgentSetup) -> Result<Self> {
        let lab = Lab::start()?;
        lab.let_the_agent_vouch()?;
        let joint = Joint::between(before.0, &lab, number)?;
        let ca = Ca::known(lab.node(), "example", ca.public_key()?.trim())?;
        let agent = setup
            .cluster("example.com", &ca, "roles_from = \"cotter\"")?
            .role("pinned-ip", &["pin_source_ip: true"])
            .role("open", &[])
            .last(&trusted(before.1, joint)?)
            .start(&lab)?;
        let sshd = SshdSetup::with_cotter(&ca)?.start(&lab)?;
        let relay = Relay::for_bastions(&lab)?;
        has_listeners(&agent)?;
        Ok(Self { relay, agent, _sshd: sshd, lab, joint })
    }

    fn place(&self) -> (&Lab, &Agent) {
        (&self.lab, &self.agent)
    }
}

/// What a node has in its configuration that trusts the bastion of this agent, at the near end of this wire.
pub(super) fn trusted(bastion: &Agent, joint: Joint) -> Result<String> {
    let (key, v4, v6) = (bastion.told(&["relay-key"])?, joint.near_v4(), joint.near_v6());
    let key = key.trim();
    Ok(format!("[[trusted_relay]]\nname = \"bastion\"\nkey = \"{key}\"\naddresses = [\"{v4}\", \"{v6}\"]\n"))
}

/// Waits until the agent has the relay's listeners.
pub(super) fn has_listeners(agent: &Agent) -> Result<()> {
    eventually("the agent has the relay's listeners", || {
        let families = &agent.json(&["status"])?["relay"]["listens"];
        Ok(families.as_array().is_some_and(|families| families.len() == 2).then_some(()))
    })
}
