//! What a reboot takes away and what it leaves: locks and the commanded mode stay in force, sessions are gone.

use anyhow::{Context, Result, ensure};
use lab::{Sshd, SshdSetup, eventually};

use crate::scene::{Scene, text};

/// Where the agent's maps are pinned.
const PINS: &str = "/sys/fs/bpf/cotter";

/// Ends the agent, sshd and all connections, and takes away what does not outlive a boot.
fn reboot(scene: &mut Scene) -> Result<()> {
    scene.agent.kill9()?;
    let node = scene.lab.node();
    node.run("sh", &["-c", "pkill -9 -x sshd; pkill -9 -u alice,bob; true"])?;
    eventually("nobody is connected", || {
        let open = node.run("ss", &["-Htn", "state", "established", "sport = :22"])?;
        Ok(open.is_empty().then_some(()))
    })?;
    node.run("rm", &["-r", PINS, "/run/cotter"]).map(drop)
}

/// sshd as it starts with the node: after the agent.
fn sshd(scene: &Scene) -> Result<Sshd> {
    SshdSetup::with_cotter(&scene.ca)?.start(&scene.lab)
}

#[test]
fn locks_and_the_commanded_mode_are_in_force_before_sshd_accepts_and_sessions_are_gone() -> Result<()> {
    let mut scene = Scene::new("audit", |agent| agent, |sshd| sshd)?;
    let (alice, bob) = (scene.alice()?, scene.bob()?);
    scene.agent.told(&["mode", "enforce"])?;
    let answer = scene.agent.json(&["lock", "--login", "alice", "--reason", "lost laptop"])?;
    let _session = scene.at_alice(&bob).stay()?;
    scene.session_of("bob")?;
    reboot(&mut scene)?;

    scene.agent.start()?;
    assert_eq!(scene.agent.json(&["mode"])?["mode"], "enforce");
    assert_eq!(scene.agent.json(&["locks"])?, serde_json::json!([answer["lock"]]));
    assert_eq!(scene.sessions()?, [] as [serde_json::Value; 0]);
    let _sshd = sshd(&scene)?;
    scene.refused(&scene.at_alice(&alice), "locked")?;
    assert_eq!(scene.at_alice(&bob).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn after_a_reboot_the_hook_knows_the_mode_before_the_agent_is_up() -> Result<()> {
    for (mode, code) in [("enforce", 255), ("audit", 0)] {
        let mut scene = Scene::new("off", |agent| agent, |sshd| sshd)?;
        let alice = scene.alice()?;
        scene.agent.told(&["mode", mode])?;
        reboot(&mut scene)?;
        let _sshd = sshd(&scene)?;
        assert_eq!(scene.at_alice(&alice).run("echo in")?.status.code(), Some(code), "{mode}");
    }
    Ok(())
}

#[test]
fn a_mode_on_trial_does_not_outlive_a_reboot() -> Result<()> {
    let mut scene = Scene::new("audit", |agent| agent, |sshd| sshd)?;
    let alice = scene.alice()?;
    scene.agent.told(&["mode", "enforce", "--confirm-within", "1h"])?;
    reboot(&mut scene)?;
    let _sshd = sshd(&scene)?;
    assert_eq!(scene.at_alice(&alice).succeed("echo before the agent")?, "before the agent\n");
    scene.agent.start()?;
    assert_eq!(scene.agent.json(&["mode"])?["mode"], "audit");
    Ok(())
}

#[test]
fn a_damaged_state_file_is_set_aside_and_keeps_neither_the_agent_nor_logins_from_working() -> Result<()> {
    for damage in ["", "{", "\0\0\0\0", "{\"locks\": 7}"] {
        let mut scene = Scene::enforcing()?;
        let alice = scene.alice()?;
        let mut session = scene.at_alice(&alice).stay()?;
        let before = scene.session_of("alice")?;
        scene.agent.told(&["lock", "--login", "bob"])?;
        scene.agent.kill9()?;
        scene.lab.node().write("/var/lib/cotter/state.json", damage)?;
        scene.agent.start()?;
        assert_eq!(scene.session_of("alice")?["id"], before["id"], "{damage:?}");
        assert!(session.echoes("still here", std::time::Duration::from_secs(10))?);
        assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
        assert_eq!(scene.lab.node().read("/var/lib/cotter/state.damaged")?, damage);
        let log = scene.agent.log()?;
        ensure!(log.contains("state.json"), "{damage:?} is not spoken of: {log}");
    }
    Ok(())
}

#[test]
fn pins_that_are_half_gone_cost_the_sessions_and_nothing_else() -> Result<()> {
    for damage in ["rm v*/SESSIONS v*/FLOWS", "rm v*/DETAILS", "rm -r v*; mkdir v1", "rm v*/prog_* v*/link_*"]
    {
        let mut scene = Scene::enforcing()?;
        let alice = scene.alice()?;
        let mut session = scene.at_alice(&alice).stay()?;
        let peer = text(&scene.session_of("alice")?, "peer")?.to_owned();
        scene.agent.kill9()?;
        scene.lab.node().run("sh", &["-ec", &format!("cd {PINS}; {damage}")])?;
        scene.agent.start()?;
        let listed = scene.agent.json(&["sessions"])?;
        let unmanaged = listed["unmanaged"].as_array().context("no list")?;
        let known = listed["sessions"].as_array().context("no list")?.iter().chain(unmanaged);
        assert!(known.into_iter().any(|it| it["peer"] == peer.as_str()), "{damage}: {listed}");
        assert!(session.echoes("still here", std::time::Duration::from_secs(10))?, "{damage}");
        let attached = &scene.agent.json(&["status"])?["attachments"];
        assert_eq!(attached.as_array().map(Vec::len), Some(2), "{damage}: {attached}");
        let mut next = scene.at_alice(&alice).stay()?;
        let id = text(&scene.session_of("alice")?, "id")?.to_owned();
        scene.agent.told(&["lock", "--login", "alice"])?;
        lab::within(std::time::Duration::from_secs(3), "the client notices", || next.ended())
            .with_context(|| format!("{damage}: {id}"))?;
    }
    Ok(())
}
