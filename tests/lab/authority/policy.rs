//! What nodes follow of an authority, and the authority's comings and goings.

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::Value;

use super::{AUTHORITY, Authority};
use crate::agent::AgentSetup;
use crate::ca::Identity;
use crate::client::Client;
use crate::lab::Lab;
use crate::place::Place;

/// What a node that follows writes for its sshd.
const USER_CA: &str = "/var/lib/cotter/authority/user_ca.pub";
/// What lets the unit's agent onto the network.
const DROP_IN: &str = include_str!("../../../packaging/systemd/authority.conf");

impl AgentSetup {
    /// Follows an authority, and has no roles of the node's own.
    pub fn following(self, authority: &Authority) -> Result<Self> {
        let (key, fingerprint) = (authority.policy_key()?, &authority.fingerprint);
        let url = authority.url();
        let table = format!("url = \"{url}\"\nkey = \"{key}\"\nfingerprint = \"{fingerprint}\"");
        Ok(self.line("roles_dir = \"/etc/cotter/own-roles.d\"").last(&format!("\n[authority]\n{table}")))
    }
}

impl Lab {
    /// The unit's drop-in for nodes that follow, if there is a systemd; it counts from the agent's next start.
    pub fn let_the_agent_follow(&self) -> Result<()> {
        if !self.has_systemd() {
            return Ok(());
        }
        self.node().write("/etc/systemd/system/cotter-agent.service.d/authority.conf", DROP_IN)?;
        self.node().run("systemctl", &["daemon-reload"]).map(drop)
    }
}

impl Authority {
    /// The line of sshd's configuration for a node that follows.
    pub fn trusted_by_sshd() -> String {
        format!("TrustedUserCAKeys {USER_CA}")
    }

    /// What its policy is known by.
    pub fn policy_key(&self) -> Result<String> {
        let told: Value = serde_json::from_str(&self.run(&["init", "--json"])?)?;
        Ok(told["policy_key"].as_str().context("no policy_key")?.to_owned())
    }

    /// Runs `cotter-authority`, which must succeed; what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.node.run(AUTHORITY, &[&["--config", super::config(self.port).as_str()], arguments].concat())
    }

    /// Logs somebody in, who must get in; what they have then.
    pub fn identity(&self, from: &Place, user: &str, password: &str) -> Result<Identity> {
        let output = self.log_in(from, user, password)?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(Client::at(from).identity(self))
    }

    /// Makes it read its configuration, keys and roles anew.
    pub fn reload(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }
}
