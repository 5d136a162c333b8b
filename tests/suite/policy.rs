//! A node that follows an authority: what is said there holds here, also while nobody is there; and nothing else does.

/// What an authority of the next version publishes.
mod versions;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Agent, AgentSetup, Authority, Ca, Lab, Login, Order, Place, Sshd, SshdSetup, eventually, within};
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{AT_ALICE, PINNING, text};

const PASSWORD: &str = "correct horse battery";
/// How soon a client must notice that its session was cut.
const AT_ONCE: Duration = Duration::from_secs(3);
/// What the node writes for sshd.
const USER_CA: &str = "/var/lib/cotter/authority/user_ca.pub";
const KEPT: &str = "/var/lib/cotter/authority/policy.json";

/// A node that enforces what an authority beside it says; it has no cluster and no role of its own.
struct Story {
    authority: Authority,
    agent: Agent,
    _sshd: Sshd,
    lab: Lab,
}

impl Story {
    fn begin() -> Result<Self> {
        Self::in_lab(Lab::start()?, Ok)
    }

    /// With more in the node's own files.
    fn in_lab(lab: Lab, own: impl FnOnce(AgentSetup) -> Result<AgentSetup>) -> Result<Self> {
        // The authority's roles, and none of the node's.
        roles("pin_source_ip: true").write(&lab)?;
        let authority = Authority::start(&lab, "")?;
        lab.let_the_agent_follow()?;
        let agent = own(AgentSetup::new("enforce").following(&authority)?)?.start(&lab)?;
        let story = SshdSetup::with_cotter(&authority.ca)?.line(&Authority::trusted_by_sshd());
        version_above(&agent, 0)?;
        let sshd = story.start(&lab)?;
        authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
        Ok(Self { authority, agent, _sshd: sshd, lab })
    }

    /// Alice's login to the node with what a login at the authority gave her.
    fn alice(&self) -> Result<Login> {
        let home = self.lab.alice();
        let identity = self.authority.identity(&home, "alice", PASSWORD)?;
        Ok(Login::new(&home, &identity, "alice"))
    }

    /// Logs in at the node, which must deny it for this reason.
    fn denied(&self, login: &Login, reason: &str) -> Result<()> {
        let mark = self.agent.mark()?;
        let output = login.run("echo in")?;
        ensure!(!output.status.success(), "{login} got in");
        let denial = |event: &Value| event["event"] == "login_denied" && event["reason"] == reason;
        self.agent.event_since(mark, reason, denial).map(drop)
    }

    /// How many locks the node knows.
    fn locks(&self) -> Result<usize> {
        self.agent.json(&["locks"])?.as_array().map(Vec::len).context("no list of locks")
    }

    /// The version in force at the node.
    fn version(&self) -> Result<u64> {
        following(&self.agent)?["version"].as_u64().context("no version")
    }

    /// Waits until the node says that what it was shown is refused for such a reason, and that the version in force is
    /// what it was.
    fn refused(&self, why: &str, version: u64) -> Result<()> {
        let refusal = |event: &Value| {
            event["event"] == "policy_refused" && event["error"].as_str().is_some_and(|it| it.contains(why))
        };
        self.agent.event(why, refusal)?;
        ensure!(self.version()? == version, "another version is in force");
        let status = following(&self.agent)?;
        ensure!(text(&status, "error")?.contains(why), "{status}");
        Ok(())
    }

    /// Stops the authority, changes something of its, and starts it.
    fn restart_authority(&mut self, change: &str) -> Result<()> {
        self.authority.kill9()?;
        self.lab.node().run("sh", &["-ec", change])?;
        self.authority.restart()
    }
}

/// The authority's roles: one that asks for what is said, and one that asks for nothing.
fn roles(options: &str) -> AgentSetup {
    AgentSetup::new("enforce").role("pinned-ip", &[options]).role("open", &[])
}

fn following(agent: &Agent) -> Result<Value> {
    Ok(agent.json(&["status"])?["following"].clone())
}

/// Waits for a policy of a higher version.
fn version_above(agent: &Agent, version: u64) -> Result<()> {
    eventually("a policy is in force", || {
        Ok(following(agent)?["version"].as_u64().filter(|it| *it > version).map(drop))
    })
}

#[test]
fn what_the_disk_does_not_take_counts_is_told_and_is_written_once_there_is_room() -> Result<()> {
    let lab = Lab::start()?;
    let kept = "/var/lib/cotter/authority";
    lab.node().run(
        "sh",
        &["-ec", &format!("mkdir -m 755 {kept}; mount -t tmpfs -o size=128k,mode=755 full {kept}")],
    )?;
    let mut story = Story::in_lab(lab, Ok)?;
    let login = story.alice()?;
    story.lab.node().run("sh", &["-c", &format!("cat /dev/zero >{kept}/full; ls -l {kept}/full")])?;
    story.authority.run(&["lock", "--user", "alice"])?;
    story.denied(&login, "locked")?;
    let error = || Ok::<_, anyhow::Error>(following(&story.agent)?["error"].clone());
    ensure!(error()?.as_str().is_some_and(|it| it.contains("will not outlive the agent")), "{}", error()?);

    story.lab.node().run("rm", &[&format!("{kept}/full")])?;
    eventually("it is written", || Ok(error()?.is_null().then_some(())))?;
    story.authority.kill9()?;
    story.agent.kill9()?;
    story.agent.start()?;
    story.denied(&login, "locked")
}

/// The unit keeps the agent from what only nodes that follow need.
#[test]
fn the_units_agent_says_what_it_needs_to_follow_and_follows_with_it() -> Result<()> {
    let lab = Lab::with_systemd()?;
    roles("pin_source_ip: true").write(&lab)?;
    let authority = Authority::start(&lab, "")?;
    let mut agent = AgentSetup::new("enforce").following(&authority)?.start(&lab)?;
    eventually("the agent says what it needs", || {
        let error = following(&agent)?["error"].clone();
        Ok(error.as_str().filter(|error| error.contains("cotter-agent.service.d/authority.conf")).map(drop))
    })?;
    lab.let_the_agent_follow()?;
    agent.stop()?;
    agent.start()?;
    version_above(&agent, 0)
}

#[test]
fn a_lock_at_the_authority_cuts_her_session_at_the_node_and_keeps_her_out_everywhere() -> Result<()> {
    let story = Story::begin()?;
    let login = story.alice()?;
    let mut session = login.stay()?;
    let told = story.authority.run(&["lock", "--user", "alice", "--reason", "lost laptop", "--json"])?;
    within(AT_ONCE, "the client notices", || session.ended())?;
    story.denied(&login, "locked")?;
    let again = story.authority.log_in(&story.lab.alice(), "alice", PASSWORD)?;
    ensure!(String::from_utf8_lossy(&again.stderr).contains("locked out"), "{again:?}");

    let locks = story.agent.json(&["locks"])?;
    assert_eq!(text(&locks[0], "reason")?, "lost laptop");
    let here = text(&locks[0], "id")?.to_owned();
    let refused = story.agent.cli(&["unlock", &here])?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("cotter-authority unlock"), "{refused:?}");

    let lock: Value = serde_json::from_str(&told)?;
    story.authority.run(&["unlock", text(&lock["lock"], "id")?])?;
    eventually("the lock is gone here too", || Ok((story.locks()? == 0).then_some(())))?;
    assert_eq!(login.succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn who_is_locked_or_removed_as_a_user_is_cut_at_the_node() -> Result<()> {
    let story = Story::begin()?;
    let login = story.alice()?;
    let mut session = login.stay()?;
    story.authority.run(&["user", "lock", "alice"])?;
    within(AT_ONCE, "the client notices", || session.ended())?;
    story.denied(&login, "locked")?;
    story.authority.run(&["user", "unlock", "alice"])?;
    eventually("she is in again", || Ok(login.run("true")?.status.success().then_some(())))?;
    let mut session = login.stay()?;
    story.authority.run(&["user", "rm", "alice"])?;
    within(AT_ONCE, "the client notices", || session.ended())?;
    story.denied(&login, "locked")
}

#[test]
fn where_rules_are_refused_those_before_stay_and_the_locks_beside_them_count() -> Result<()> {
    let lab = Lab::start()?;
    let ca = Ca::new(lab.node(), "local-ca")?;
    let rest = "roles_from = \"cotter\"";
    let mut story = Story::in_lab(lab, |agent| agent.cluster("local.example.com", &ca, rest))?;
    story.authority.add("bob", PASSWORD, &["--role", "pinned-ip"])?;
    let home = story.lab.alice();
    story.authority.identity(&home, "bob", PASSWORD)?;
    let bob = kept(story.lab.node(), &home, "bob", "bob")?;
    let login = story.alice()?;
    let mut session = login.stay()?;
    // The node trusts that key already, as another cluster's.
    story.authority.configure(
        "[[trusted_cluster]]\nname = \"root.example.com\"\nuser_ca = \"/root/local-ca/ca.pub\"\n\
         roles_from = \"cotter\"\nrole_map = [{ remote = \"dev\", local = [\"pinned-ip\"] }]",
    )?;
    story.authority.reload()?;
    let refusal = |event: &Value| event["event"] == "policy_refused";
    story.agent.event("the rules are refused", refusal)?;
    ensure!(session.echoes("still in", Duration::from_secs(5))?, "what was in force stays");
    story.authority.run(&["lock", "--user", "alice"])?;
    within(AT_ONCE, "her session is cut", || session.ended())?;
    let holds = |story: &Story| -> Result<()> {
        story.denied(&login, "locked")?;
        assert_eq!(bob.succeed("echo in")?, "in\n");
        Ok(())
    };
    holds(&story)?;
    story.agent.signal(Signal::HUP)?;
    story.agent.event("the reload", |event| event["event"] == "reloaded")?;
    holds(&story)?;
    story.authority.kill9()?;
    story.agent.stop()?;
    story.agent.start()?;
    holds(&story)?;
    let status = following(&story.agent)?;
    ensure!(status["error"].is_string(), "{status}");
    Ok(())
}

#[test]
fn a_reload_that_does_not_go_with_the_policy_in_force_is_refused_and_lifts_no_lock() -> Result<()> {
    let story = Story::begin()?;
    story.authority.run(&["lock", "--user", "alice"])?;
    eventually("the lock is here", || Ok((story.locks()? == 1).then_some(())))?;
    let node = story.lab.node();
    let keys = node.read(USER_CA)?;
    let other = Ca::new(node, "other")?.public_key()?;
    node.run("sed", &["-i", &format!("s|^key = .*|key = \"{}\"|", other.trim()), "/etc/cotter/agent.toml"])?;
    story.agent.signal(Signal::HUP)?;
    story.agent.event("the reload is refused", |event| event["event"] == "reload_failed")?;
    assert_eq!((story.locks()?, node.read(USER_CA)?), (1, keys));
    Ok(())
}

#[test]
fn while_the_authority_is_away_the_node_goes_on_with_what_it_said_last() -> Result<()> {
    let mut story = Story::begin()?;
    let login = story.alice()?;
    story.authority.add("bob", PASSWORD, &["--role", "pinned-ip"])?;
    story.authority.run(&["lock", "--user", "bob"])?;
    story.authority.run(&["lock", "--address", "198.51.222.0/24"])?;
    eventually("both locks are here", || Ok((story.locks()? == 2).then_some(())))?;
    let version = story.version()?;
    story.authority.kill9()?;
    assert_eq!(login.succeed("echo in")?, "in\n");
    story.agent.kill9()?;
    story.agent.start()?;
    assert_eq!(story.version()?, version);
    assert_eq!(login.succeed("echo in")?, "in\n");
    let elsewhere = Login::new(&story.lab.elsewhere(), &lab::Identity { key: KEY.into() }, "alice");
    story.denied(&elsewhere, "locked")?;
    assert_eq!(story.locks()?, 2);
    eventually("status says that nobody answers", || {
        Ok(following(&story.agent)?["error"].as_str().map(drop))
    })?;

    story.authority.restart()?;
    story.authority.run(&["lock", "--user", "alice"])?;
    version_above(&story.agent, version)?;
    story.denied(&login, "locked")
}

/// Where the client keeps its key.
const KEY: &str = "/root/.local/state/cotter/198.51.100.10_8443/id";

#[test]
fn a_policy_signed_by_another_key_is_refused() -> Result<()> {
    let mut story = Story::begin()?;
    let version = story.version()?;
    let login = story.alice()?;
    // Where the key is lost, none is made unasked.
    story.restart_authority(
        "rm /var/lib/cotter-authority/policy
         code=0; cotter-authority run 2>/root/said || code=$?
         [ $code = 2 ] && grep -q 'Put it back from your copy' /root/said
         cotter-authority init
         cotter-authority lock --user alice",
    )?;
    story.refused("not by a key that is trusted", version)?;
    assert_eq!(login.succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn a_policy_of_an_earlier_day_is_refused() -> Result<()> {
    let mut story = Story::begin()?;
    let login = story.alice()?;
    let (storage, node) = (story.authority.storage(), story.lab.node().clone());
    storage.back_up(&node, "/root/backup")?;
    let before = story.version()?;
    story.authority.run(&["lock", "--user", "alice"])?;
    version_above(&story.agent, before)?;
    let version = story.version()?;
    story.authority.kill9()?;
    storage.restore(&node, "/root/backup")?;
    story.authority.restart()?;
    story.refused("an old one is played back", version)?;
    story.denied(&login, "locked")?;
    // The next change passes what the node knows, and all is as the authority has it.
    story.authority.run(&["lock", "--address", "198.51.222.0/24"])?;
    version_above(&story.agent, version)?;
    assert_eq!(story.locks()?, 1);
    Ok(())
}

#[test]
fn a_policy_of_another_cluster_is_refused() -> Result<()> {
    let mut story = Story::begin()?;
    let version = story.version()?;
    story.restart_authority(
        "sed -i 's/^name = .*/name = \"other.com\"/' /etc/cotter/authority.toml
         cotter-authority lock --user alice",
    )?;
    story.refused("is of cluster \"other.com\"", version)
}

#[test]
fn a_damaged_policy_on_disk_is_none_and_the_authority_mends_it() -> Result<()> {
    let mut story = Story::begin()?;
    let login = story.alice()?;
    let whole = story.lab.node().read(KEPT)?;
    for damaged in ["", &whole[..whole.len() / 2], &whole.replacen("example.com", "example.org", 1)] {
        story.agent.stop()?;
        story.authority.kill9()?;
        story.lab.node().write(KEPT, damaged)?;
        story.agent.start()?;
        let status = following(&story.agent)?;
        ensure!(status["version"].is_null() && status["error"].is_string(), "{status}");
        ensure!(!login.run("true")?.status.success(), "without a policy nobody is known");
        story.authority.restart()?;
        version_above(&story.agent, 0)?;
        assert_eq!(login.succeed("echo in")?, "in\n");
    }
    Ok(())
}

#[test]
fn a_role_that_pins_from_now_on_at_the_authority_does_so_at_the_node() -> Result<()> {
    let story = Story::begin()?;
    story.authority.add("bob", PASSWORD, &["--role", "open"])?;
    let home = story.lab.alice();
    let login = Login::new(&home, &story.authority.identity(&home, "bob", PASSWORD)?, "bob");
    assert_eq!(login.succeed("echo in")?, "in\n");
    let version = story.version()?;
    roles("pin_source_ip: true").role("open", &["pin_source_ip: true"]).write_roles(&story.lab)?;
    story.authority.reload()?;
    version_above(&story.agent, version)?;
    story.denied(&login, "pin_missing")?;
    let again = Login::new(&home, &story.authority.identity(&home, "bob", PASSWORD)?, "bob");
    assert_eq!(again.succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn a_trusted_cluster_of_the_authority_s_is_one_of_the_node_s() -> Result<()> {
    let story = Story::begin()?;
    let root = Ca::new(story.lab.node(), "root-ca")?;
    let version = story.version()?;
    let options: &[&str] = &[r#"extension:roles@cotter=["dev-ip"]"#];
    let order = Order { options, ..Order::login("carol", &["alice"]) };
    let issue = |name, order: &Order<'_>| -> Result<Login> {
        Ok(Login::new(&story.lab.alice(), &root.issue(name, order)?, "alice"))
    };
    let pinned = issue("pinned", &order.pinned(AT_ALICE))?;
    ensure!(!pinned.run("true")?.status.success(), "nobody trusts the root yet");
    story.authority.configure(
        "[[trusted_cluster]]\nname = \"root.example.com\"\nuser_ca = \"/root/root-ca/ca.pub\"\n\
         roles_from = \"cotter\"\nrole_map = [{ remote = \"dev-*\", local = [\"pinned-$1\"] }]",
    )?;
    story.authority.reload()?;
    version_above(&story.agent, version)?;
    assert_eq!(pinned.succeed("echo in")?, "in\n");
    story.denied(&issue("unpinned", &order)?, "pin_missing")?;
    let unmapped = Order { options: &[PINNING], ..order };
    story.denied(&issue("unmapped", &unmapped.pinned(AT_ALICE))?, "no_roles")?;

    let version = story.version()?;
    story.authority.run(&["lock", "--user", "root.example.com/carol"])?;
    version_above(&story.agent, version)?;
    story.denied(&pinned, "locked")
}

#[test]
fn ca_keys_are_rotated_without_a_login_lost() -> Result<()> {
    let story = Story::begin()?;
    let keep = |name: &str| kept(story.lab.node(), &story.lab.alice(), name, "alice");
    story.alice()?;
    let old = keep("old")?;
    let state = "/var/lib/cotter-authority";
    let node = story.lab.node();
    node.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &format!("{state}/new")])?;
    let keys = |files: &[&str]| -> Result<()> {
        let version = story.version()?;
        let files: Vec<String> = files.iter().map(|file| format!("\"{state}/{file}\"")).collect();
        let line = format!("ca_keys = [{}]", files.join(", "));
        let file = "/etc/cotter/authority.toml";
        let script = format!("sed -i '/^ca_keys/d' {file}; sed -i '1i {line}' {file}");
        node.run("sh", &["-ec", &script])?;
        story.authority.reload()?;
        version_above(&story.agent, version)
    };
    keys(&["ca", "new"])?;
    assert_eq!(old.succeed("echo in")?, "in\n");
    keys(&["new", "ca"])?;
    // It is known to nodes before it signs.
    eventually("the new key signs", || {
        story.alice()?;
        let shown = node.run("ssh-keygen", &["-L", "-f", &format!("{KEY}-cert.pub")])?;
        let signer = node.run("ssh-keygen", &["-l", "-f", &format!("{state}/new.pub")])?;
        let signer = signer.split_whitespace().nth(1).context("no fingerprint")?;
        Ok(shown.contains(signer).then_some(()))
    })?;
    let new = keep("new")?;
    assert_eq!(old.succeed("echo in")?, "in\n");
    assert_eq!(new.succeed("echo in")?, "in\n");
    keys(&["new"])?;
    assert_eq!(new.succeed("echo in")?, "in\n");
    ensure!(!old.run("true")?.status.success(), "the old key is gone from sshd too");
    Ok(())
}

/// A copy of what a login has left, for the next login replaces it.
fn kept(node: &Place, from: &Place, name: &str, user: &str) -> Result<Login> {
    let copy = format!("/root/{name}-identity");
    node.run("sh", &["-ec", &format!("cp {KEY} {copy}; cp {KEY}-cert.pub {copy}-cert.pub")])?;
    Ok(Login::new(from, &lab::Identity { key: copy }, user))
}
