//! The stage: node, authority, sshd, agent, people; and the actors' ways to act on it.

use anyhow::{Context, Result, bail};
use lab::{
    Agent, AgentSetup, Authority, Client, Identity, Lab, Login, Place, Session, Sshd, SshdSetup, eventually,
};
use serde_json::Value;

use crate::screen::Screen;

/// Where alice is at first, and where her certificate turns up: as pins.
pub(crate) const AT_ALICE: &str = "198.51.111.1/32";
pub(crate) const AT_ELSEWHERE: &str = "198.51.222.2/32";

/// Everybody's password. Nobody else is there to hear it.
const PASSWORD: &str = "correct horse battery staple";

/// Where the authority looks for the role that begins to pin in mid-story.
const STAFF: &str = "/etc/cotter/roles.d/staff.yaml";

/// Everything that is on the stage.
pub(crate) struct Stage {
    pub(crate) screen: Screen,
    pub(crate) agent: Agent,
    pub(crate) sshd: Sshd,
    pub(crate) authority: Authority,
    /// Alice's and bob's own machines, where alice is; and one of the team's.
    pub(crate) alice: Client,
    pub(crate) bob: Client,
    pub(crate) deploy: Client,
    pub(crate) lab: Lab,
}

impl Stage {
    /// Sets everything up.
    pub(crate) fn set(screen: Screen) -> Result<Self> {
        let lab = Lab::start()?;
        AgentSetup::new("enforce")
            .role("pinned-ip", &["pin_source_ip: true"])
            .role("brief", &["pin_source_ip: true", "max_session_ttl: 10s", "disconnect_expired_cert: true"])
            .role("staff", &[])
            .write(&lab)?;
        let authority = Authority::start(&lab, "")?;
        let agent = AgentSetup::new("enforce").following(&authority)?.start(&lab)?;
        eventually("the node follows", || Ok((version(&agent)? > 0).then_some(())))?;
        let sshd = SshdSetup::with_cotter(&authority.ca)?.line(&Authority::trusted_by_sshd()).start(&lab)?;
        authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
        authority.add("bob", PASSWORD, &["--role", "brief"])?;
        authority.add("deploy", PASSWORD, &["--role", "staff", "--login", "bob"])?;
        let laptop = |name: &str| Client::at(&lab.alice()).named(name);
        let (alice, bob, deploy) = (laptop("alice"), laptop("bob"), laptop("deploy"));
        Ok(Self { screen, agent, sshd, authority, alice, bob, deploy, lab })
    }

    /// Logs somebody in at the authority, from where the laptop is; the key and the certificate that come of it.
    pub(crate) fn logs_in(&self, laptop: &Client, user: &str) -> Result<Identity> {
        let place = laptop.place().name();
        self.screen
            .command(place, format_args!("cotter login --authority {} --user {user}", self.authority.url()));
        let output = laptop.log_in(&self.authority, user, PASSWORD)?;
        self.screen.printed(&String::from_utf8_lossy(&output.stdout));
        self.screen.printed(&String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("{user} is not logged in: {}", output.status);
        }
        Ok(laptop.identity(&self.authority))
    }

    /// Types a command of the client's where alice has moved to, and her password when it asks; all that stands on the
    /// screen in the end.
    pub(crate) fn at_her_terminal(&self, arguments: &[&str]) -> Result<String> {
        let moved = self.alice.moved(&self.lab.elsewhere());
        self.screen.command(moved.place().name(), format_args!("cotter {}", shown(arguments)));
        let mut terminal = moved.cotter_at_terminal(arguments)?;
        terminal.shows("cotter asks for her password", |screen| screen.contains("Password"))?;
        terminal.press(&format!("{PASSWORD}\r"))?;
        let status = terminal.end()?;
        let said = terminal.shows("what it said", |_| true)?;
        self.screen.printed(said.trim());
        if !status.success() {
            bail!("the command ended with {status}");
        }
        Ok(said)
    }

    /// Has the role of the team demand a pin from now on.
    pub(crate) fn staff_is_pinned_from_now_on(&self) -> Result<()> {
        let role =
            self.node().read(STAFF)?.replace("spec:\n", "spec:\n  options:\n    pin_source_ip: true\n");
        self.node().write(STAFF, &role)?;
        self.screen.command("node", format_args!("grep -A1 options: {STAFF}"));
        self.screen.printed(&self.node().run("grep", &["-A1", "options:", STAFF])?);
        self.reload()
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

    /// Runs `cotter-authority` with the arguments, which must succeed; what it printed.
    pub(crate) fn authority_says(&self, arguments: &[&str]) -> Result<String> {
        self.screen.command("node", format_args!("cotter-authority {}", shown(arguments)));
        let printed = self.authority.run(arguments)?;
        self.screen.printed(&printed);
        Ok(printed)
    }

    /// Makes the authority read its roles again, and waits until the node goes by them.
    fn reload(&self) -> Result<()> {
        let before = version(&self.agent)?;
        self.screen.command("node", "systemctl reload cotter-authority");
        self.authority.reload()?;
        eventually("the node has the new policy", || Ok((version(&self.agent)? > before).then_some(())))
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

/// The version of the policy that is in force at the node.
fn version(agent: &Agent) -> Result<u64> {
    Ok(agent.json(&["status"])?["following"]["version"].as_u64().unwrap_or_default())
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
