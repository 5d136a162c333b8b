//! Strangers who hammer sshd keep nobody else out.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Hoard, Login, Order, Place, within};

use crate::scene::{PINNING, Scene};

/// Strangers who offer all they have at the same time.
const STRANGERS: usize = 3;

#[test]
fn hundreds_of_queries_in_each_of_several_connections_keep_nobody_out() -> Result<()> {
    let mut scene = Scene::new(
        "enforce",
        // The strangers' host is to go on offering, not to be kept out.
        |agent| agent.line("penalties = { denials = 0 }"),
        |sshd| sshd.line("MaxAuthTries 3000").line("LoginGraceTime 600"),
    )?;
    let alice = scene.alice()?;
    let hoard = Hoard::new(&scene.lab.elsewhere(), &scene.ca, "alice")?;
    let stranger = hoard.login("alice");
    std::thread::scope(|scope| {
        let strangers: Vec<_> = (0..STRANGERS).map(|_| scope.spawn(|| stranger.run("echo in"))).collect();
        let mut logins = 0;
        while !strangers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
            scene.agent.json(&["status"])?;
            logins += 1;
        }
        for stranger in strangers {
            let output = stranger.join().expect("no panic")?;
            assert_eq!(output.status.code(), Some(255), "{output:?}");
        }
        assert!(logins > 3, "only {logins} logins beside the strangers: {}", scene.sshd.log()?);
        anyhow::Ok(())
    })?;
    assert_eq!(offered(&scene.sshd.log()?)?, [Hoard::SIZE; STRANGERS]);
    let told_one_by_one = strangers_denials(&scene)?.len();
    assert!(told_one_by_one < 50, "{told_one_by_one} denials of one source were reported one by one");
    // The rest it sums up when a minute is over, or when it ends.
    scene.agent.stop()?;
    let denials: u64 = strangers_denials(&scene)?.into_iter().sum();
    assert_eq!(denials, (STRANGERS * Hoard::SIZE) as u64, "the agent was asked about each of them");
    Ok(())
}

/// How many certificates each of the strangers' connections offered, as sshd has it.
fn offered(log: &str) -> Result<Vec<usize>> {
    let mut connections = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("ED25519-CERT")) {
        if let Some((_, rest)) = line.split_once("Failed publickey for alice from 198.51.222.2 port ") {
            let port = rest.split(' ').next().context("a line without a port")?;
            *connections.entry(port).or_default() += 1;
        }
    }
    Ok(connections.into_values().collect())
}

/// How many denials of the strangers' host each event in the audit log stands for: one, or as many as it sums up.
fn strangers_denials(scene: &Scene) -> Result<Vec<u64>> {
    let events = scene.agent.events()?.into_iter().filter(|event| event["observed"] == "198.51.222.2");
    let count = |event: &serde_json::Value| match event["event"].as_str() {
        Some("login_denied") => Some(1),
        Some("denials_suppressed") => event["count"].as_u64(),
        _ => None,
    };
    Ok(events.filter_map(|event| count(&event)).collect())
}

/// What makes three denials within a minute earn a penalty that outlasts the test.
const STRICT: &str = "penalties = { denials = 3, within_seconds = 60, seconds = 600 }";

/// A login that is denied each time it is tried.
fn failing(scene: &Scene, place: &Place) -> Result<Login> {
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let unpinned = scene.ca.issue("unpinned", &order)?;
    Ok(Login::new(place, &unpinned, "alice").option("-oConnectTimeout=2"))
}

#[test]
fn a_source_that_keeps_being_denied_is_kept_out_until_its_penalty_is_cleared() -> Result<()> {
    let scene = Scene::new("enforce", |agent| agent.line(STRICT), |sshd| sshd)?;
    let failing = failing(&scene, &scene.lab.elsewhere())?;
    within(Duration::from_secs(60), "the source is under penalty", || {
        failing.run("echo in")?;
        let listed = scene.agent.json(&["penalties"])?;
        Ok(listed.as_array().is_some_and(|list| !list.is_empty()).then_some(()))
    })?;
    let bob = scene.bob()?;
    let kept_out = scene.at_elsewhere(&bob).option("-oConnectTimeout=2").run("echo in")?;
    assert!(String::from_utf8_lossy(&kept_out.stderr).contains("timed out"), "{kept_out:?}");
    assert_eq!(scene.at_alice(&bob).succeed("echo in")?, "in\n");
    scene.agent.told(&["penalties", "clear"])?;
    assert_eq!(scene.at_elsewhere(&bob).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn a_source_with_a_live_session_is_never_under_penalty() -> Result<()> {
    let scene = Scene::new("enforce", |agent| agent.line(STRICT), |sshd| sshd)?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    let failing = failing(&scene, &scene.lab.alice())?;
    for _ in 0..5 {
        assert_eq!(failing.run("echo in")?.status.code(), Some(255));
    }
    assert_eq!(scene.agent.json(&["penalties"])?, serde_json::json!([]));
    assert!(session.echoes("still here", Duration::from_secs(5))?);
    Ok(())
}
