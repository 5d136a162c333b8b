//! Behind bastions, by plain `ssh -J`: the node goes by where users are, not by where the bastion is.

/// Bastions one behind the other, and a node behind the last.
mod chain;
/// What goes on without the agent there, the agent here, or the relay.
mod outlives;
/// Whose word counts, and which.
mod trust;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{ALICE, AgentSetup, ELSEWHERE, Place, eventually};
use serde_json::Value;

use self::chain::{By, Chain};
use crate::scene::text;

impl Chain {
    /// What is known of alice's session at the node.
    fn session(&self) -> Result<Value> {
        let agent = &self.node()?.agent;
        eventually("alice's session on the node", || {
            let listed = agent.json(&["sessions"])?;
            Ok(listed["sessions"].as_array().and_then(|all| all.first().cloned()))
        })
    }
}

#[test]
fn a_user_is_where_the_bastion_says_for_sshd_the_agent_and_the_trail() -> Result<()> {
    at_home_and_elsewhere(&Chain::of(1)?, 1)
}

#[test]
fn a_user_is_where_the_first_of_two_bastions_has_seen_them() -> Result<()> {
    at_home_and_elsewhere(&Chain::of(2)?, 2)
}

fn at_home_and_elsewhere(chain: &Chain, bastions: usize) -> Result<()> {
    let (alice, bob) = (chain.alice()?, chain.bob()?);
    let (node, lab) = (chain.node()?, &chain.bastion.lab);
    for at in By::BOTH {
        let own = at.of(ALICE.v4, ALICE.v6).to_string();
        let mark = node.agent.mark()?;
        let home = chain.login(&lab.alice(), at, &alice, &alice)?;
        let said = home.succeed("echo $SSH_CLIENT").with_context(|| node.relay.log().unwrap_or_default())?;
        assert_eq!(said.split(' ').next(), Some(&*own));
        let event = node.agent.event_since(mark, "a login", |event| event["event"] == "login_allowed")?;
        assert_eq!((text(&event, "observed")?, text(&event, "observed_how")?), (&*own, "relay bastion"));
        let mark = node.agent.mark()?;
        let away = chain.login(&lab.elsewhere(), at, &bob, &alice)?;
        ensure!(!away.run("echo in")?.status.success());
        let denial = node.agent.event_since(mark, "a denial", |event| event["event"] == "login_denied")?;
        let there = at.of(ELSEWHERE.v4, ELSEWHERE.v6).to_string();
        assert_eq!((text(&denial, "reason")?, text(&denial, "observed")?), ("pin_mismatch", &*there));
    }
    let _session = chain.login(&lab.alice(), By::V4, &alice, &alice)?.stay()?;
    let listed = chain.session()?;
    assert_eq!(
        (text(&listed, "observed")?, text(&listed, "observed_how")?),
        ("198.51.111.1", "relay bastion")
    );
    assert_eq!(listed["via"]["through"].as_array().map(Vec::len), Some(bastions));
    Ok(())
}

#[test]
fn packets_from_the_bastion_are_judged_by_where_the_user_is() -> Result<()> {
    let chain = Chain::of(1)?;
    let (alice, node) = (chain.alice()?, chain.node()?);
    let mut session = chain.login(&chain.bastion.lab.alice(), By::V4, &alice, &alice)?.stay()?;
    let listed = chain.session()?;
    assert_eq!(listed["flows"], 2);
    let near = node.joint.near_v4();
    let outer = node
        .lab
        .node()
        .run("ss", &["-Htn", "state", "established", "src", &node.joint.far_v4().to_string()])?;
    let outer =
        outer.split_whitespace().last().context("no outer leg")?.replace("[::ffff:", "").replace(']', "");
    ensure!(outer.starts_with(&near.to_string()), "{outer}");
    let to = format!("{}:22", node.joint.far_v4());
    let judged = node.agent.json(&["explain", "--from", &outer, "--to", &to])?;
    assert_eq!((text(&judged, "reason")?, text(&judged, "session")?), ("pinned", text(&listed, "id")?));
    let how = (text(&judged, "observed")?, text(&judged, "observed_how")?);
    assert_eq!(how, ("198.51.111.1", "relay bastion"));
    let lock = ["lock", "--address", "198.51.111.1/32"];
    node.agent.told(&lock)?;
    eventually("the session ends", || Ok(session.ended()?.map(drop)))
}

#[test]
fn a_cut_on_the_bastion_cuts_on_the_node() -> Result<()> {
    let chain = Chain::of(2)?;
    let (alice, node) = (chain.alice()?, chain.node()?);
    let mut session = chain.login(&chain.bastion.lab.alice(), By::V4, &alice, &alice)?.stay()?;
    let mark = node.agent.mark()?;
    let there = chain.bastion.session_of("alice")?;
    chain.bastion.agent.told(&["cut", text(&there, "id")?])?;
    eventually("the session ends", || Ok(session.ended()?.map(drop)))?;
    let gone = |event: &Value| event["event"] == "session_cut" || event["event"] == "session_closed";
    node.agent.event_since(mark, "the session on the node is over", gone)?;
    Ok(())
}

#[test]
fn the_bastions_word_alone_cuts_on_the_node() -> Result<()> {
    let chain = Chain::of(1)?;
    let (alice, node) = (chain.alice()?, chain.node()?);
    let mut session = chain.login(&chain.bastion.lab.alice(), By::V4, &alice, &alice)?.stay()?;
    let mark = node.agent.mark()?;
    // What the bastion's sshd has connected stays, so that nobody notices but by what is said.
    let there = chain.bastion.session_of("alice")?;
    chain.say_that_it_is_over(text(&there, "id")?)?;
    let cut = node.agent.event_since(mark, "a cut", |event| event["event"] == "session_cut")?;
    assert_eq!(text(&cut, "cause")?, "relay");
    eventually("the session ends", || Ok(session.ended()?.map(drop)))
}

#[test]
fn scp_rsync_and_a_shared_connection_go_through_as_they_are() -> Result<()> {
    let chain = Chain::of(1)?;
    let (alice, user) = (chain.alice()?, chain.bastion.lab.alice());
    let config = chain.configure(&alice)?;
    let done = |program: &str, arguments: &[&str]| user.run(program, arguments);
    user.write("/root/file", "some bytes")?;
    done("scp", &["-F", config, "/root/file", "node:copied"])?;
    done("rsync", &["-e", &format!("ssh -F {config}"), "/root/file", "node:synced"])?;
    let shared = [
        "-F",
        config,
        "-o",
        "ControlPath=/root/shared",
        "-o",
        "ControlPersist=60",
        "-o",
        "ControlMaster=auto",
    ];
    let by_it = |command: &str| {
        let mut ssh = Place::command("ssh");
        user.output(ssh.args(shared).args(["node", command]).stderr(std::process::Stdio::null()))
    };
    ensure!(by_it("cat copied")?.stdout == b"some bytes");
    ensure!(by_it("cat synced")?.stdout == b"some bytes");
    let agent = &chain.node()?.agent;
    eventually("the shared session is the only one", || {
        let listed = agent.json(&["sessions"])?;
        Ok(listed["sessions"].as_array().is_some_and(|all| all.len() == 1).then_some(()))
    })?;
    let mut stop = Place::command("ssh");
    user.output(stop.args(shared).args(["-O", "exit", "node"]))?;
    Ok(())
}

#[test]
fn sessions_are_counted_by_how_their_users_are_known_and_doctor_and_status_say_what_is_so() -> Result<()> {
    let chain = Chain::with(1, AgentSetup::new("enforce").line("metrics = \"127.0.0.1:9899\""))?;
    let (alice, node) = (chain.alice()?, chain.node()?);
    let mut session = chain.login(&chain.bastion.lab.alice(), By::V4, &alice, &alice)?.stay()?;
    ensure!(session.echoes("in", Duration::from_secs(10))?);
    let metrics = node.lab.node().run("curl", &["-sf", "http://127.0.0.1:9899/metrics"])?;
    ensure!(metrics.contains("cotter_sessions{observed=\"relay\"} 1"), "{metrics}");
    let told = node.agent.told(&["status"])?;
    ensure!(told.contains("bastion: led to the relay (IPv4, IPv6)"), "{told}");
    let told = chain.bastion.agent.told(&["status"])?;
    ensure!(told.contains("for its users at 203.0.113.0/24"), "{told}");
    let found = node.agent.json(&["doctor"])?;
    for id in ["bastions", "relay-routes", "relay-sshd"] {
        let finding = found.as_array().and_then(|all| all.iter().find(|it| it["id"] == id));
        assert_eq!(finding.map(|it| &it["level"]), Some(&"ok".into()), "{id}: {found}");
    }
    Ok(())
}
