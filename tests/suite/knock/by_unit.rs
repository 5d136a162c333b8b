//! systemd listens for the agent, which its unit keeps off the network.

use anyhow::Result;
use lab::{Lab, eventually};

use super::{accepts, alice, in_lab};

/// What is packaged; in here, for virtual machines do not have the sources.
const SOCKET: &str = include_str!("../../../packaging/systemd/cotter-agent-knock.socket");

fn node() -> Result<Lab> {
    let lab = Lab::with_systemd()?;
    lab.node().write("/etc/systemd/system/cotter-agent-knock.socket", SOCKET)?;
    lab.node().run("systemctl", &["daemon-reload"])?;
    Ok(lab)
}

#[test]
fn knocks_come_in_by_the_socket_unit_and_without_it_the_agent_says_what_is_missing() -> Result<()> {
    let scene = in_lab(node()?, "")?;
    let systemctl = |arguments: &[&str]| scene.lab.node().run("systemctl", arguments);
    let error = eventually("the agent says that it hears nothing", || {
        Ok(scene.agent.json(&["status"])?["knocks"]["error"].as_str().map(str::to_owned))
    })?;
    assert!(error.contains("systemctl enable cotter-agent-knock.socket"), "{error}");
    systemctl(&["enable", "cotter-agent-knock.socket"])?;
    systemctl(&["restart", "cotter-agent"])?;
    let alice = alice(&scene)?;
    accepts(&scene, &alice, &alice.knock()?)?;
    // An agent that has died hears again; one that was stopped is not started by what strangers send.
    systemctl(&["kill", "--signal=KILL", "cotter-agent"])?;
    eventually("the next agent hears her", || {
        let before = scene.agent.events()?.len();
        alice.send(&alice.knock()?)?;
        let heard = |event: &serde_json::Value| event["event"] == "knock_accepted";
        Ok(scene.agent.events()?.into_iter().skip(before).any(|event| heard(&event)).then_some(()))
    })?;
    systemctl(&["stop", "cotter-agent"])?;
    alice.send(&alice.knock()?)?;
    let state = "systemctl show --value -p ActiveState cotter-agent.service cotter-agent-knock.socket";
    let state = scene.lab.node().run("sh", &["-c", state])?;
    assert_eq!(state.split_whitespace().collect::<Vec<_>>(), ["inactive", "inactive"]);
    Ok(())
}

#[test]
fn a_socket_at_another_port_than_the_agents_is_said_to_be() -> Result<()> {
    let lab = node()?;
    let other = "[Socket]\nListenDatagram=\nListenDatagram=4122\n";
    lab.node().write("/etc/systemd/system/cotter-agent-knock.socket.d/port.conf", other)?;
    lab.node().run("systemctl", &["daemon-reload"])?;
    lab.node().run("systemctl", &["enable", "cotter-agent-knock.socket"])?;
    let scene = in_lab(lab, "")?;
    eventually("the agent says so", || {
        let status = scene.agent.json(&["status"])?;
        let error = status["knocks"]["error"].as_str().unwrap_or_default();
        Ok(error.contains("listens at port 4122, and agent.toml says 4022").then_some(()))
    })
}
