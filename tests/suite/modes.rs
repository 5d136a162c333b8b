//! `audit` and `off` deny and drop nothing; `enforce` can be tried and goes back by itself.

use std::time::Duration;

use anyhow::Result;
use lab::{Order, eventually, within};
use rustix::process::Signal;

use crate::scene::{PINNING, Scene};

#[test]
fn audit_lets_in_and_tells_what_enforce_would_have_denied() -> Result<()> {
    let scene = Scene::new("audit", |agent| agent, |sshd| sshd)?;
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let unpinned = scene.ca.issue("alice", &order)?;
    let mark = scene.agent.mark()?;
    assert_eq!(scene.at_alice(&unpinned).succeed("echo in")?, "in\n");
    let event = scene.denial_since(mark, "pin_missing")?;
    assert_eq!(event["overruled"], true);
    Ok(())
}

#[test]
fn in_audit_and_off_a_dead_or_hung_agent_keeps_nobody_out() -> Result<()> {
    for mode in ["audit", "off"] {
        let mut scene = Scene::new(mode, |agent| agent, |sshd| sshd)?;
        let alice = scene.alice()?;
        scene.agent.signal(Signal::STOP)?;
        assert_eq!(scene.at_alice(&alice).succeed("echo hung")?, "hung\n", "{mode}");
        scene.agent.signal(Signal::CONT)?;
        scene.agent.kill9()?;
        assert_eq!(scene.at_alice(&alice).succeed("echo dead")?, "dead\n", "{mode}");
        // sshd's own check of source-address stays.
        assert_eq!(scene.at_elsewhere(&alice).run("echo in")?.status.code(), Some(255), "{mode}");
    }
    Ok(())
}

#[test]
fn audit_never_drops_a_packet_of_a_session_that_it_would_cut() -> Result<()> {
    let scene = Scene::new("audit", |agent| agent, |sshd| sshd)?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    scene.session_of("alice")?;
    scene.agent.told(&["lock", "--login", "alice"])?;
    assert!(session.echoes("still here", Duration::from_secs(10))?);
    assert!(session.ended()?.is_none());
    Ok(())
}

#[test]
fn enforce_on_trial_goes_back_by_itself_unless_confirmed() -> Result<()> {
    let scene = Scene::new("audit", |agent| agent, |sshd| sshd)?;
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let unpinned = scene.ca.issue("alice", &order)?;
    scene.agent.told(&["mode", "enforce", "--confirm-within", "6s"])?;
    assert_eq!(scene.agent.json(&["mode"])?["mode"], "enforce");
    assert_eq!(scene.at_alice(&unpinned).run("echo in")?.status.code(), Some(255));
    eventually("audit is back", || Ok((scene.agent.json(&["mode"])?["mode"] == "audit").then_some(())))?;
    assert_eq!(scene.at_alice(&unpinned).succeed("echo in")?, "in\n");
    scene.agent.told(&["mode", "enforce", "--confirm-within", "5m"])?;
    scene.agent.told(&["mode", "enforce"])?;
    assert!(scene.agent.json(&["mode"])?["goes_back_to"].is_null());
    Ok(())
}

#[test]
fn enforce_on_trial_goes_back_also_if_the_agent_dies_meanwhile() -> Result<()> {
    let mut scene = Scene::new("audit", |agent| agent, |sshd| sshd)?;
    let alice = scene.alice()?;
    scene.agent.told(&["mode", "enforce", "--confirm-within", "5s"])?;
    scene.agent.kill9()?;
    within(Duration::from_secs(30), "logins work again without an agent", || {
        Ok(scene.at_alice(&alice).run("echo in")?.status.success().then_some(()))
    })
}

#[test]
fn a_mode_that_was_set_by_command_outlives_the_agent() -> Result<()> {
    let mut scene = Scene::new("audit", |agent| agent, |sshd| sshd)?;
    scene.agent.told(&["mode", "enforce"])?;
    scene.agent.kill9()?;
    scene.agent.start()?;
    assert_eq!(scene.agent.json(&["mode"])?["mode"], "enforce");
    Ok(())
}
