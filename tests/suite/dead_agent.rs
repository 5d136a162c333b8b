//! The agent dies, hangs or is replaced; the kernel goes on, nobody is locked out who must not be.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use lab::{Capture, Lab, Order, Place, counter, eventually, within};
use rustix::process::Signal;

use crate::scene::{AT_ALICE, ENDING, Scene, text};

#[test]
fn the_kernel_ends_a_session_in_time_though_the_agent_is_dead() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let mut bob = scene.at_alice(&scene.bob()?).stay()?;
    let order = Order { options: &[ENDING], validity: "-1m:+15s", ..Order::login("alice", &["alice"]) };
    let alice = scene.ca.issue("alice", &order.pinned(AT_ALICE))?;
    let mut session = scene.at_alice(&alice).stay()?;
    let listed = scene.session_of("alice")?;
    let id = text(&listed, "id")?;
    let end = UNIX_EPOCH + Duration::from_secs(listed["ends_at"].as_u64().context("the session has no end")?);
    scene.agent.kill9()?;
    assert!(session.echoes("in time", Duration::from_secs(5))?);

    eventually("the deadline", || Ok((SystemTime::now() > end + Duration::from_secs(1)).then_some(())))?;
    let sent = Capture::of_sent(&scene.lab.alice(), "eth0", "tcp dst port 22")?;
    let before = counter::dropped_of_session(scene.lab.node(), id)?;
    session.send("too late")?;
    eventually("the kernel drops each packet that is sent", || {
        let dropped = counter::dropped_of_session(scene.lab.node(), id)? - before;
        Ok((dropped >= 5 && dropped == sent.packets()).then_some(()))
    })?;
    drop(sent);
    assert_eq!(session.hear(Duration::ZERO)?, None);
    assert!(!scene.lab.node().read("/home/alice/heard")?.contains("too late"));
    assert!(bob.echoes("not bob's deadline", Duration::from_secs(5))?);

    scene.agent.start()?;
    eventually("the new agent tells the client", || session.ended())?;
    assert_eq!(scene.session_of("bob")?["state"], "live");
    assert!(bob.echoes("known again", Duration::from_secs(5))?);
    Ok(())
}

#[test]
fn sessions_go_on_through_a_restart_and_are_still_known() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    let before = scene.session_of("alice")?;
    assert!(scene.agent.stop()?.success());
    assert!(session.echoes("nobody home", Duration::from_secs(5))?);
    scene.agent.start()?;
    assert!(session.echoes("somebody home", Duration::from_secs(5))?);
    let after = scene.session_of("alice")?;
    for member in ["id", "user", "pinned", "observed", "opened_at", "peer"] {
        assert_eq!(before[member], after[member], "{member}");
    }
    scene.agent.told(&["cut", text(&after, "id")?])?;
    within(Duration::from_secs(3), "the client notices", || session.ended())?;
    scene.deserted()
}

#[test]
fn a_session_whose_client_left_while_no_agent_ran_is_closed_by_the_next() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    scene.session_of("alice")?;
    scene.agent.kill9()?;
    session.hang_up()?;
    scene.agent.start()?;
    scene.deserted()
}

#[test]
fn a_session_whose_monitor_was_killed_is_closed() -> Result<()> {
    let scene = Scene::enforcing()?;
    let _session = scene.at_alice(&scene.alice()?).stay()?;
    scene.session_of("alice")?;
    // Both halves of sshd that serve her, and her command; so no hook is run at the end.
    scene.lab.node().run("pkill", &["-9", "-f", "^sshd: alice"])?;
    scene.lab.node().run("sh", &["-c", "pkill -9 -u alice || true"])?;
    scene.deserted()
}

#[test]
fn without_an_agent_only_the_break_glass_key_gets_in() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let (alice, key) = (scene.alice()?, scene.break_glass()?);
    scene.agent.kill9()?;
    assert_ne!(scene.at_alice(&alice).run("echo in")?.status.code(), Some(0));
    assert_eq!(scene.at_alice(&key).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn with_a_broken_configuration_the_break_glass_key_gets_in() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let (alice, key) = (scene.alice()?, scene.break_glass()?);
    scene.agent.kill9()?;
    scene.lab.node().write("/etc/cotter/agent.toml", "mode = \"enforce\nlogin_ports = 22")?;
    scene.agent.launch()?;
    let status = eventually("the agent gives up", || scene.agent.exit_status())?;
    assert_eq!(status.code(), Some(2), "{}", scene.agent.log()?);
    assert_ne!(scene.at_alice(&alice).run("echo in")?.status.code(), Some(0));
    assert_eq!(scene.at_alice(&key).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn with_a_full_disk_the_break_glass_key_and_certificates_get_in() -> Result<()> {
    let lab = Lab::start()?;
    // Small disks of their own, on which the agent has its files from the start.
    for directory in ["/var/log/cotter", "/var/lib/cotter"] {
        lab.node().run("mount", &["-t", "tmpfs", "-o", "size=128k,mode=700", "small", directory])?;
    }
    let scene = Scene::in_lab(lab, "enforce", |agent| agent, |sshd| sshd)?;
    let (alice, key) = (scene.alice()?, scene.break_glass()?);
    fill(scene.lab.node(), "/var/log/cotter")?;
    fill(scene.lab.node(), "/var/lib/cotter")?;
    assert_eq!(scene.at_alice(&key).succeed("echo in")?, "in\n");
    assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
    Ok(())
}

/// Fills the disk that the directory is on, to its last byte.
fn fill(node: &Place, directory: &str) -> Result<()> {
    let write = |mut file: File| -> std::io::Result<()> {
        loop {
            file.write_all(&[0; 512])?;
        }
    };
    for file in ["filler", "one more"] {
        let path = format!("{directory}/{file}");
        let error = node.enter(|| File::create(path).and_then(write))?.expect_err("no disk is endless");
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{directory}: {error}");
    }
    Ok(())
}

#[test]
fn a_hung_agent_denies_in_bounded_time_and_the_break_glass_key_gets_in() -> Result<()> {
    let scene = Scene::enforcing()?;
    let (alice, key) = (scene.alice()?, scene.break_glass()?);
    scene.agent.signal(Signal::STOP)?;
    let start = std::time::Instant::now();
    assert_ne!(scene.at_alice(&alice).run("echo in")?.status.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(scene.at_alice(&key).succeed("echo in")?, "in\n");
    scene.agent.signal(Signal::CONT)?;
    assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
    Ok(())
}
