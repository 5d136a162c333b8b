//! `setup sshd`: what it takes over, what stops it, and that everything is put back when something fails.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use lab::{Agent, AgentSetup, Ca, Identity, Lab, Login, Order, Place, Sshd, SshdSetup};

use crate::scene::{AT_ALICE, PINNING, text};

const SNIPPET: &str = "/etc/ssh/sshd_config.d/00-cotter.conf";
const AGENT_FILE: &str = "/etc/cotter/agent.d/00-setup-sshd.toml";

/// A node with an agent in `audit` that sshd does not know of.
struct Node {
    agent: Agent,
    sshd: Sshd,
    ca: Ca,
    lab: Lab,
}

impl Node {
    fn new(sshd: impl FnOnce(SshdSetup) -> SshdSetup) -> Result<Self> {
        let lab = Lab::start()?;
        let ca = Ca::new(lab.node(), "example")?;
        let agent = AgentSetup::new("audit")
            .cluster("example.com", &ca, "roles_from = \"cotter\"")?
            .role("pinned-ip", &["pin_source_ip: true"])
            .start(&lab)?;
        let sshd = sshd(SshdSetup::as_distributed(&ca)?).start(&lab)?;
        Ok(Self { agent, sshd, ca, lab })
    }

    fn setup(&self, options: &[&str]) -> Result<Output> {
        self.agent.cli(&[&["setup", "sshd"], options].concat())
    }

    fn succeeds(&self, options: &[&str]) -> Result<String> {
        let output = self.setup(options)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// It stops with the exit code, and says this.
    fn fails(&self, options: &[&str], code: i32, why: &str) -> Result<()> {
        let output = self.setup(options)?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code), "{}: {complaint}", output.status);
        ensure!(complaint.contains(why), "{complaint}");
        Ok(())
    }

    /// Every file that a setup could touch, with its owner, mode and content.
    fn files(&self) -> Result<String> {
        let list = "find /etc /var/lib/pam ! -type d -printf '%p %m %u %l ' -exec sha256sum {} + | sort";
        self.lab.node().run("sh", &["-c", list])
    }

    fn break_glass(&self) -> Result<Identity> {
        let identity = Identity::plain(self.lab.node(), "/root/emergency")?;
        let key = self.lab.node().read(identity.public())?;
        self.lab.node().write("/etc/cotter/break-glass.keys", key.trim_end())?;
        Ok(identity)
    }

    fn at_alice(&self, identity: &Identity) -> Login {
        Login::new(&self.lab.alice(), identity, "alice")
    }

    fn pinned(&self) -> Result<Identity> {
        let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
        self.ca.issue("alice", &order.pinned(AT_ALICE))
    }
}

#[test]
fn after_setup_a_pinned_login_is_a_session_and_own_keys_and_break_glass_keys_get_in() -> Result<()> {
    let mut node = Node::new(|sshd| sshd)?;
    let emergency = node.break_glass()?;
    let own = Identity::plain(node.lab.node(), "/root/own")?;
    node.lab.node().run("install", &["-d", "-o", "alice", "-m", "700", "/home/alice/.ssh"])?;
    node.lab.node().write("/home/alice/.ssh/authorized_keys", &node.lab.node().read(own.public())?)?;
    let said = node.succeeds(&[])?;
    assert!(said.contains("a break-glass key gets in: a login as root was tried"), "{said}");
    node.sshd.reload()?;

    let _session = node.at_alice(&node.pinned()?).stay()?;
    let sessions = node.agent.json(&["sessions"])?;
    let session = &sessions["sessions"][0];
    assert_eq!((text(session, "login")?, text(session, "cluster")?), ("alice", "example.com"));
    assert_eq!(node.at_alice(&own).succeed("echo in")?, "in\n");
    assert_eq!(node.at_alice(&emergency).succeed("echo in")?, "in\n");

    let again = node.succeeds(&[])?;
    assert!(again.contains("nothing to do"), "{again}");
    node.succeeds(&["--keys-only-break-glass"])?;
    node.sshd.reload()?;
    assert_eq!(node.at_alice(&own).run("echo in")?.status.code(), Some(255));
    assert_eq!(node.at_alice(&emergency).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn undo_leaves_everything_byte_for_byte_as_it_was() -> Result<()> {
    let node = Node::new(|sshd| sshd.last_line("AuthorizedPrincipalsFile /etc/ssh/auth_principals/%u"))?;
    node.break_glass()?;
    let before = node.files()?;
    node.succeeds(&[])?;
    assert_ne!(node.files()?, before);
    node.succeeds(&["--undo"])?;
    assert_eq!(without_aside(&node.files()?), before);
    let again = node.succeeds(&["--undo"])?;
    assert!(again.contains("nothing to do"), "{again}");
    Ok(())
}

#[test]
fn a_dry_run_shows_a_diff_and_changes_nothing() -> Result<()> {
    let node = Node::new(|sshd| sshd)?;
    let before = node.files()?;
    let shown = node.succeeds(&["--dry-run"])?;
    for line in [
        "--- /dev/null",
        "+++ /etc/ssh/sshd_config.d/00-cotter.conf",
        "+AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 /etc/cotter/break-glass.keys",
        "+TrustedUserCAKeys /etc/cotter/ca/example.com.pub",
        "--- /etc/pam.d/common-session",
        "+session\trequired\tpam_exec.so quiet stdout type=open_session /usr/lib/cotter/cotter-hook pam",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in {shown}");
    }
    assert_eq!(node.files()?, before);
    // What it showed is what is done.
    let done = node.succeeds(&[])?;
    assert!(done.starts_with(shown.split("note:").next().context("nothing shown")?.trim_end()), "{done}");
    let common = node.lab.node().read("/etc/pam.d/common-session")?;
    assert!(
        common.contains("type=open_session /usr/lib/cotter/cotter-hook pam\n# end of pam-auth"),
        "{common}"
    );
    let undone = node.succeeds(&["--undo", "--dry-run"])?;
    assert!(undone.contains("-AuthorizedPrincipalsCommand /usr/lib/cotter/cotter-hook"), "{undone}");
    assert!(node.lab.node().read(SNIPPET)?.contains("AuthorizedPrincipalsCommand"));
    Ok(())
}

#[test]
fn another_command_stops_it_even_in_a_match_block() -> Result<()> {
    let node = Node::new(|sshd| {
        sshd.last_line("Match User git").last_line("  AuthorizedPrincipalsCommand /bin/echo %u")
    })?;
    let before = node.files()?;
    node.fails(&[], 2, "sshd asks another AuthorizedPrincipalsCommand already")?;
    node.fails(&["--dry-run"], 2, "/etc/ssh/sshd_config:")?;
    assert_eq!(node.files()?, before);
    Ok(())
}

#[test]
fn a_principals_file_becomes_the_agents() -> Result<()> {
    let mut node = Node::new(|sshd| sshd.last_line("AuthorizedPrincipalsFile /etc/ssh/auth_principals/%u"))?;
    node.lab.node().write("/etc/ssh/auth_principals/alice", "crew\n")?;
    node.succeeds(&[])?;
    assert!(node.lab.node().read(AGENT_FILE)?.contains("principals_file = \"/etc/ssh/auth_principals/%u\""));
    node.sshd.reload()?;
    node.agent.signal(rustix::process::Signal::HUP)?;
    node.agent.event("reload", |event| event["event"] == "reloaded")?;
    let order = Order { options: &[PINNING], ..Order::login("alice", &["crew"]) };
    let crew = node.ca.issue("alice", &order.pinned(AT_ALICE))?;
    assert_eq!(node.at_alice(&crew).succeed("echo in")?, "in\n");
    let verdict = ["check-cert", &crew.certificate(), "--login", "alice", "--from", "198.51.111.1"];
    assert_eq!(node.agent.json(&verdict)?["verdict"], "allow");
    Ok(())
}

#[test]
fn what_fails_a_check_puts_everything_back() -> Result<()> {
    let first = Node::new(|sshd| sshd.line("AuthorizedKeysFile /etc/ssh/keys"))?;
    let before = first.files()?;
    first.fails(&["--keys-only-break-glass"], 2, "instead of /etc/cotter/break-glass.keys")?;
    assert_eq!(first.files()?, before);

    let closed = Node::new(|sshd| sshd.line("PermitRootLogin no"))?;
    closed.break_glass()?;
    let before = closed.files()?;
    closed.fails(&["--account", "root"], 3, "a break-glass key would not get in")?;
    assert_eq!(without_aside(&closed.files()?), before);
    let said = closed.succeeds(&["--account", "alice"])?;
    assert!(said.contains("a login as alice was tried"), "{said}");
    Ok(())
}

#[test]
fn a_node_that_enforces_is_left_alone() -> Result<()> {
    let node = Node::new(|sshd| sshd)?;
    node.agent.told(&["mode", "enforce"])?;
    let before = node.files()?;
    node.fails(&[], 2, "cotter-agent mode audit")?;
    assert_eq!(node.files()?, before);
    Ok(())
}

#[test]
fn killed_at_any_rename_it_is_put_back_by_the_next_one() -> Result<()> {
    let node = Node::new(|sshd| sshd.last_line("AuthorizedPrincipalsFile /etc/ssh/auth_principals/%u"))?;
    node.break_glass()?;
    let before = node.files()?;
    let mut points = 0;
    for when in 1.. {
        let inject = format!("inject=rename,renameat,renameat2:signal=KILL:when={when}");
        let setup = ["-qq", "-e", "trace=rename,renameat,renameat2", "-e", &inject, "-o", "/dev/null"];
        let mut strace = Place::command("strace");
        strace.args(setup).args(["/usr/sbin/cotter-agent", "setup", "sshd"]);
        let output = node.lab.node().output(&mut strace)?;
        if output.status.success() {
            break;
        }
        points += 1;
        node.succeeds(&["--undo"])?;
        assert_eq!(without_aside(&node.files()?), before, "killed at rename {when}");
    }
    // The journal, sshd's snippet, the agent's file, and the break-glass file twice.
    assert_eq!(points, 5);
    Ok(())
}

/// pam-auth-update leaves what it replaced behind, as it does for everybody.
fn without_aside(files: &str) -> String {
    files.lines().filter(|line| !line.contains(".pam-old")).map(|line| format!("{line}\n")).collect()
}
