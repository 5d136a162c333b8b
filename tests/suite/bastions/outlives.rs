//! What goes on without the bastion's agent, without the node's, without the relay, and without anybody's word.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{AgentSetup, Identity, Login, Place, eventually, within};

use super::chain::{By, Chain, has_listeners};
use crate::scene::text;

/// Until the agent has certainly looked, however busy the machine is.
const LOOKED_AT: Duration = Duration::from_secs(40);

impl Chain {
    /// A break-glass key of the node's.
    fn break_glass(&self) -> Result<Identity> {
        let here = self.bastion.lab.node();
        let identity = Identity::plain(here, "/root/emergency")?;
        let key = here.read(identity.public())?;
        self.node()?.lab.node().write("/etc/cotter/break-glass.keys", &key)?;
        Ok(identity)
    }

    /// A login from the bastion's own console, which is nobody's session there.
    fn at_console(&self, identity: &Identity) -> Result<Login> {
        let to = self.node()?.joint.far_v4().into();
        Ok(Login::new(self.bastion.lab.node(), identity, "alice").to(to))
    }
}

#[test]
fn without_the_bastions_agent_nobody_new_gets_in_and_who_is_in_stays_judged() -> Result<()> {
    let mut chain = Chain::of(1)?;
    let alice = chain.alice()?;
    let login = chain.login(&chain.bastion.lab.alice(), By::V4, &alice, &alice)?;
    let mut session = login.stay()?;
    chain.bastion.agent.kill9()?;
    ensure!(session.echoes("the bastion's agent is dead", Duration::from_secs(10))?);
    let mark = chain.node()?.agent.mark()?;
    ensure!(!login.run("echo in")?.status.success(), "nobody vouches");
    ensure!(
        chain.node()?.agent.json(&["sessions"])?["sessions"].as_array().is_some_and(|all| all.len() == 1)
    );
    chain.bastion.agent.start()?;
    // On a console nobody has a session, so that nobody vouches either.
    ensure!(!chain.at_console(&alice)?.run("echo in")?.status.success());
    let denial =
        chain.node()?.agent.event_since(mark, "a denial", |event| event["event"] == "login_denied")?;
    assert_eq!((text(&denial, "reason")?, text(&denial, "step")?), ("observed_address_unknown", "relay"));
    ensure!(login.run("echo in")?.status.success(), "the bastion's agent is back");
    chain.node()?.agent.told(&["lock", "--user", "example.com/alice"])?;
    eventually("the session ends", || Ok(session.ended()?.map(drop)))
}

#[test]
fn the_node_notices_that_the_bastion_has_closed_the_connection() -> Result<()> {
    let mut chain = Chain::of(1)?;
    let alice = chain.alice()?;
    let mut session = chain.login(&chain.bastion.lab.alice(), By::V4, &alice, &alice)?.stay()?;
    chain.bastion.agent.kill9()?;
    let of_bastion = chain.bastion.lab.node();
    let near = chain.node()?.joint.near_v4().to_string();
    of_bastion.run("ss", &["-K", "src", &near, "dport", "=", ":22"])?;
    eventually("the session ends", || Ok(session.ended()?.map(drop)))?;
    eventually("the node has no session", || {
        let listed = chain.node()?.agent.json(&["sessions"])?;
        Ok(listed["sessions"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })
}

#[test]
fn without_the_nodes_agent_running_sessions_go_on_and_emergency_keys_get_in() -> Result<()> {
    let mut chain = Chain::of(1)?;
    let (alice, key) = (chain.alice()?, chain.break_glass()?);
    let login = chain.login(&chain.bastion.lab.alice(), By::V4, &alice, &alice)?;
    let mut session = login.stay()?;
    let emergency = chain.at_console(&key)?;
    chain.node_mut()?.agent.kill9()?;
    ensure!(session.echoes("the node's agent is dead", Duration::from_secs(10))?);
    ensure!(!login.run("echo in")?.status.success(), "nobody judges");
    emergency.succeed("true")?;
    let node = chain.node_mut()?;
    node.agent.start()?;
    has_listeners(&node.agent)?;
    ensure!(session.echoes("a new one", Duration::from_secs(10))?);
    login.succeed("true")?;
    node.relay.restart()?;
    has_listeners(&node.agent)?;
    ensure!(session.echoes("a new relay", Duration::from_secs(10))?);
    login.succeed("true").map(drop)
}

#[test]
fn without_a_relay_certificates_are_denied_and_emergency_keys_get_in() -> Result<()> {
    let mut chain = Chain::of(1)?;
    let (alice, key) = (chain.alice()?, chain.break_glass()?);
    let login = chain.login(&chain.bastion.lab.alice(), By::V4, &alice, &alice)?;
    let emergency = chain.at_console(&key)?;
    let node = chain.node_mut()?;
    node.relay.stop()?;
    let mark = node.agent.mark()?;
    ensure!(!login.run("echo in")?.status.success());
    let denial = node.agent.event_since(mark, "a denial", |event| event["event"] == "login_denied")?;
    assert_eq!(text(&denial, "reason")?, "observed_address_unknown");
    emergency.succeed("true").map(drop)
}

#[test]
fn what_leads_bastions_to_the_relay_comes_back_when_others_take_it_away() -> Result<()> {
    const PIN: &str = "/sys/fs/bpf/cotter/v*/link_cotter_steer";

    let chain = Chain::of(1)?;
    let (alice, node) = (chain.alice()?, chain.node()?);
    let login = chain.login(&chain.bastion.lab.alice(), By::V4, &alice, &alice)?;
    node.lab.node().run("sh", &["-c", &format!("rm {PIN}")])?;
    ensure!(!login.run("echo in")?.status.success(), "she would come from the bastion");
    within(LOOKED_AT, "it is back", || {
        let found = node.lab.node().output(Place::command("sh").args(["-c", &format!("ls {PIN}")]))?;
        Ok(found.status.success().then_some(()))
    })?;
    login.succeed("true").map(drop)
}

#[test]
fn where_nothing_is_enforced_who_is_not_vouched_for_comes_from_the_bastion() -> Result<()> {
    let chain = Chain::with(1, AgentSetup::new("audit"))?;
    let (bob, node) = (chain.bob()?, chain.node()?);
    let login = Login::new(chain.bastion.lab.node(), &bob, "bob").to(node.joint.far_v4().into());
    let mark = node.agent.mark()?;
    assert_eq!(login.succeed("echo $SSH_CLIENT")?.split(' ').next(), Some("203.0.113.1"));
    let denial = node.agent.event_since(mark, "a denial", |event| event["event"] == "login_denied")?;
    assert_eq!((text(&denial, "reason")?, &denial["overruled"]), ("observed_address_unknown", &true.into()));
    Ok(())
}
