//! The stage: node, authority, sshd, agent; and the actors' ways to act on it.

use anyhow::{Context, Result, bail};
use lab::{Agent, AgentSetup, Ca, Identity, Lab, Login, Order, Place, Session, Sshd, SshdSetup, eventually};
use serde_json::Value;

use crate::screen::Screen;

/// The role of the story, and one like it whose sessions end with their certificates.
const PINNING: &str = r#"extension:roles@cotter=["pinned-ip"]"#;
const ENDING: &str = r#"extension:roles@cotter=["pinned-ip","ends-with-certificate"]"#;

/// Where alice is at first, and where her certificate turns up: as pins.
pub(crate) const AT_ALICE: &str = "198.51.111.1/32";
pub(crate) const AT_ELSEWHERE: &str = "198.51.222.2/32";

/// Everything that is on the stage.
pub(crate) struct Stage {
    pub(crate) screen: Screen,
    pub(crate) agent: Agent,
    pub(crate) sshd: Sshd,
    pub(crate) ca: Ca,
    pub(crate) lab: Lab,
}

impl Stage {
    /// Sets everything up.
    pub(crate) fn set(screen: Screen) -> Result<Self> {
        let lab = Lab::start()?;
        let ca = Ca::new(lab.node(), "ca")?;
        let agent = AgentSetup::new("enforce")
            .cluster("example.com", &ca, "roles_from = \"cotter\"")?
            .role("pinned-ip", &["pin_source_ip: true"])
            .role("ends-with-certificate", &["disconnect_expired_cert: true"])
            .start(&lab)?;
        let sshd = SshdSetup::with_cotter(&ca)?.start(&lab)?;
        Ok(Self { screen, agent, sshd, ca, lab })
    }

    /// A certificate for the pinning role.
    pub(crate) fn certificate(&self, name: &str, user: &str, pin: Option<&str>) -> Result<Identity> {
        let principals = [user];
        self.ca.issue(
            name,
            &Order { source_address: pin, options: &[PINNING], ..Order::login(user, &principals) },
        )
    }

    /// A certificate whose sessions end with it, so many seconds from now.
    pub(crate) fn ending(&self, name: &str, pin: &str, seconds: u64) -> Result<Identity> {
        let validity = format!("-1m:+{seconds}s");
        let order = Order { validity: &validity, options: &[ENDING], ..Order::login("alice", &["alice"]) };
        self.ca.issue(name, &order.pinned(pin))
    }

    /// Logs in to run a command, which must succeed.
    pub(crate) fn gets_in(&self, login: &Login, command: &str) -> Result<()> {
        self.screen.command(login.place().name(), format_args!("{login} '{command}'"));
        self.screen.printed(&login.succeed(command)?);
        Ok(())
    }

    /// Logs in to run a command, which must be refused; the audit log must name this reason.
    pub(crate) fn is_refused(&self, login: &Login, reason: &str) -> Result<()> {
        self.screen.command(login.place().name(), format_args!("{login} true"));
        let mark = self.agent.mark()?;
        let output = login.run("true")?;
        self.screen.printed(&String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            bail!("the login was let in");
        }
        let what = format!("a denial {reason} in the audit log");
        let event = self.agent.event_since(mark, &what, |event| {
            event["event"] == "login_denied" && event["reason"] == reason
        })?;
        self.screen.voice("audit log", &gist(&event));
        Ok(())
    }

    /// Logs in to stay.
    pub(crate) fn stays(&self, login: &Login) -> Result<Session> {
        self.screen.command(login.place().name(), format_args!("{login} 'tee heard'   (stays open)"));
        login.stay()
    }

    /// Runs `cotter-agent` with the arguments, which must succeed.
    pub(crate) fn administrator(&self, arguments: &[&str]) -> Result<()> {
        self.screen.command("node", format_args!("cotter-agent {}", shown(arguments)));
        self.screen.printed(&self.agent.told(arguments)?);
        Ok(())
    }

    /// The listing of the one session of this user that lives.
    pub(crate) fn session_of(&self, user: &str) -> Result<Value> {
        eventually(&format!("a live session of {user}"), || {
            let listed = self.agent.json(&["sessions"])?;
            let sessions = listed["sessions"].as_array().context("no list of sessions")?;
            let lives = |session: &&Value| session["user"] == user && session["state"] == "live";
            Ok(sessions.iter().find(lives).cloned())
        })
    }

    /// The places.
    pub(crate) fn node(&self) -> &Place {
        self.lab.node()
    }
}

/// What matters of an audit event, for eyes.
pub(crate) fn gist(event: &Value) -> String {
    let members = ["event", "reason", "cluster", "user", "pinned", "observed"];
    let text = |name: &str| match &event[name] {
        Value::Null => None,
        Value::String(text) => Some(format!("{name}={text}")),
        Value::Array(list) => {
            let items: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            Some(format!("{name}={}", items.join(",")))
        }
        other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Some(format!("{name}={other}")),
    };
    members.into_iter().filter_map(text).collect::<Vec<_>>().join(" ")
}

/// Arguments as one would type them.
fn shown(arguments: &[&str]) -> String {
    let quote = |argument: &&str| {
        if argument.contains(' ') { format!("'{argument}'") } else { (*argument).to_owned() }
    };
    arguments.iter().map(quote).collect::<Vec<_>>().join(" ")
}
