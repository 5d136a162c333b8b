//! A node that enforces, with an authority, an sshd and an agent.

use anyhow::{Context, Result, ensure};
use lab::{Agent, AgentSetup, Ca, Identity, Lab, Login, Mark, Order, Sshd, SshdSetup, eventually};
use serde_json::Value;

/// Names the roles of a certificate, as an authority of our own does.
pub(crate) const PINNING: &str = r#"extension:roles@cotter=["pinned-ip"]"#;
/// A role that asks for nothing.
pub(crate) const OPEN: &str = r#"extension:roles@cotter=["open"]"#;
/// A role whose sessions end with their certificates.
pub(crate) const ENDING: &str = r#"extension:roles@cotter=["ending"]"#;
/// A role whose older sessions end when their user logs in from elsewhere.
pub(crate) const MOVING: &str = r#"extension:roles@cotter=["moving"]"#;

/// Alice's address as a pin.
pub(crate) const AT_ALICE: &str = "198.51.111.1/32";
/// The other host's address as a pin.
pub(crate) const AT_ELSEWHERE: &str = "198.51.222.2/32";

pub(crate) struct Scene {
    pub(crate) agent: Agent,
    pub(crate) sshd: Sshd,
    pub(crate) ca: Ca,
    pub(crate) lab: Lab,
}

impl Scene {
    /// The usual node, in enforce mode.
    pub(crate) fn enforcing() -> Result<Self> {
        Self::new("enforce", |agent| agent, |sshd| sshd)
    }

    /// A node in the mode, with changes to what the agent and sshd are told.
    pub(crate) fn new(
        mode: &str,
        agent: impl FnOnce(AgentSetup) -> AgentSetup,
        sshd: impl FnOnce(SshdSetup) -> SshdSetup,
    ) -> Result<Self> {
        Self::in_lab(Lab::start()?, mode, agent, sshd)
    }

    /// The same in a lab in which something is there already.
    pub(crate) fn in_lab(
        lab: Lab,
        mode: &str,
        agent: impl FnOnce(AgentSetup) -> AgentSetup,
        sshd: impl FnOnce(SshdSetup) -> SshdSetup,
    ) -> Result<Self> {
        let ca = Ca::new(lab.node(), "example")?;
        let setup = AgentSetup::new(mode)
            .cluster("example.com", &ca, "roles_from = \"cotter\"")?
            .role("pinned-ip", &["pin_source_ip: true"])
            .role("open", &[])
            .role("ending", &["pin_source_ip: true", "disconnect_expired_cert: true"])
            .role("moving", &["pin_source_ip: true", "on_new_address: cut"]);
        let agent = agent(setup).start(&lab)?;
        let sshd = sshd(SshdSetup::with_cotter(&ca)?).start(&lab)?;
        Ok(Self { agent, sshd, ca, lab })
    }

    /// Alice's certificate for the role that pins, pinned to where she is.
    pub(crate) fn alice(&self) -> Result<Identity> {
        self.ca.issue(
            "alice",
            &Order { options: &[PINNING], ..Order::login("alice", &["alice"]) }.pinned(AT_ALICE),
        )
    }

    /// Bob's certificate for the role that asks for nothing, without a pin.
    pub(crate) fn bob(&self) -> Result<Identity> {
        self.ca.issue("bob", &Order { options: &[OPEN], ..Order::login("bob", &["bob"]) })
    }

    /// A break-glass key.
    pub(crate) fn break_glass(&self) -> Result<Identity> {
        let identity = Identity::plain(self.lab.node(), "/root/break-glass")?;
        self.lab.node().write("/etc/cotter/break-glass.keys", &self.lab.node().read(identity.public())?)?;
        Ok(identity)
    }

    /// A login from alice's host to the account named like the identity's file.
    pub(crate) fn at_alice(&self, identity: &Identity) -> Login {
        Login::new(&self.lab.alice(), identity, account(identity))
    }

    /// The same from the other host.
    pub(crate) fn at_elsewhere(&self, identity: &Identity) -> Login {
        Login::new(&self.lab.elsewhere(), identity, account(identity))
    }

    /// The live sessions.
    pub(crate) fn sessions(&self) -> Result<Vec<Value>> {
        let listed = self.agent.json(&["sessions"])?;
        Ok(listed["sessions"].as_array().context("no list of sessions")?.clone())
    }

    /// Waits for a session of the login and gives its listing.
    pub(crate) fn session_of(&self, login: &str) -> Result<Value> {
        eventually(&format!("a session of {login}"), || {
            Ok(self.sessions()?.into_iter().find(|session| session["login"] == login))
        })
    }

    /// Waits until no session is left.
    pub(crate) fn deserted(&self) -> Result<()> {
        eventually("the last session is closed", || Ok(self.sessions()?.is_empty().then_some(())))
    }

    /// Logs in, which must be refused before the key is proven, for this reason; the audit event of it.
    pub(crate) fn refused(&self, login: &Login, reason: &str) -> Result<Value> {
        self.ends_with(255, login, reason)
    }

    /// Logs in, which must be refused when the session opens, for this reason; the audit event of it.
    pub(crate) fn refused_a_session(&self, login: &Login, reason: &str) -> Result<Value> {
        self.ends_with(254, login, reason)
    }

    fn ends_with(&self, code: i32, login: &Login, reason: &str) -> Result<Value> {
        let mark = self.agent.mark()?;
        let output = login.run("echo in")?;
        ensure!(output.status.code() == Some(code), "{login} is not refused as {reason}: {output:?}");
        self.denial_since(mark, reason)
    }

    /// Waits for the audit event of a denial with this reason, written after the mark.
    pub(crate) fn denial_since(&self, mark: Mark, reason: &str) -> Result<Value> {
        self.agent.event_since(mark, &format!("denial {reason}"), |event| {
            event["event"] == "login_denied" && event["reason"] == reason
        })
    }
}

/// The account that an identity of [`Scene`] is for.
fn account(identity: &Identity) -> &'static str {
    if identity.key.ends_with("/bob") { "bob" } else { "alice" }
}

/// The text of a member of a JSON object.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value[name].as_str().with_context(|| format!("no {name} in {value}"))
}
