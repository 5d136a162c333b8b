//! How far a word of the administrator's reaches: whom a lock names, for how long, and whom nothing keeps out.

use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Identity, Order, Place, Session, eventually, within};
use serde_json::Value;

use crate::scene::{AT_ALICE, AT_ELSEWHERE, ENDING, OPEN, PINNING, Scene, text};

/// How soon a client must notice that it was cut.
const AT_ONCE: Duration = Duration::from_secs(3);

/// A certificate for alice's account with another key id and serial, good from both hosts.
fn second_alice(scene: &Scene) -> Result<Identity> {
    let order = Order { key_id: "second", serial: 2, options: &[OPEN], ..Order::login("alice", &["alice"]) };
    scene.ca.issue("second", &order)
}

/// Three people's sessions, of which a lock is to hit exactly one.
struct Three {
    scene: Scene,
    /// Each with the host that they come from.
    identities: [(Identity, Place); 3],
    sessions: [Session; 3],
    /// As the agent lists them.
    listed: [Value; 3],
}

impl Three {
    /// Alice at her host; a second person with her account and bob, both elsewhere.
    fn new() -> Result<Self> {
        let scene = Scene::enforcing()?;
        let (at_alice, elsewhere) = (scene.lab.alice(), scene.lab.elsewhere());
        let bob = Order { serial: 3, options: &[OPEN], ..Order::login("bob", &["bob"]) };
        let identities = [
            (scene.alice()?, at_alice),
            (second_alice(&scene)?, elsewhere.clone()),
            (scene.ca.issue("bob", &bob)?, elsewhere),
        ];
        let stay = |at: usize| login(&identities[at]).stay();
        let sessions = [stay(0)?, stay(1)?, stay(2)?];
        let all = scene.sessions()?;
        let of = |user: &str| all.iter().find(|it| it["user"] == user).cloned().context("not listed");
        let listed = [of("alice")?, of("second")?, of("bob")?];
        Ok(Self { scene, identities, sessions, listed })
    }

    /// Lays a lock, which must cut those and keep them out, and nobody else; then takes it away.
    fn locks(&mut self, target: &[&str], those: &[usize]) -> Result<()> {
        let answer = self.scene.agent.json(&[&["lock"], target].concat())?;
        let cut = answer["cut"].as_array().context("no list of what was cut")?;
        assert_eq!(cut.len(), those.len(), "{target:?}: {answer}");
        for at in 0..self.sessions.len() {
            if those.contains(&at) {
                within(AT_ONCE, "the client notices", || self.sessions[at].ended())?;
                assert_eq!(
                    login(&self.identities[at]).run("echo in")?.status.code(),
                    Some(255),
                    "{target:?} {at}"
                );
            } else {
                assert!(self.sessions[at].echoes("still here", Duration::from_secs(10))?, "{target:?} {at}");
                assert_eq!(login(&self.identities[at]).succeed("echo in")?, "in\n", "{target:?} {at}");
            }
        }
        self.scene.agent.told(&["unlock", text(&answer["lock"], "id")?])?;
        for &at in those {
            assert_eq!(login(&self.identities[at]).succeed("echo in")?, "in\n", "{target:?} {at}");
        }
        Ok(())
    }
}

/// The login of one of the three.
fn login((identity, place): &(Identity, Place)) -> lab::Login {
    let account = if identity.key.ends_with("/bob") { "bob" } else { "alice" };
    lab::Login::new(place, identity, account)
}

#[test]
fn a_lock_of_a_user_names_a_person_and_not_an_account() -> Result<()> {
    Three::new()?.locks(&["--user", "example.com/second"], &[1])
}

#[test]
fn a_lock_of_a_user_of_another_cluster_is_nobody_here() -> Result<()> {
    Three::new()?.locks(&["--user", "elsewhere.org/alice"], &[])
}

#[test]
fn a_lock_of_a_login_names_all_who_use_that_account() -> Result<()> {
    Three::new()?.locks(&["--login", "alice"], &[0, 1])
}

#[test]
fn a_lock_of_a_serial_number_names_one_certificate() -> Result<()> {
    Three::new()?.locks(&["--serial", "3"], &[2])
}

#[test]
fn a_lock_of_an_address_names_all_who_come_from_there() -> Result<()> {
    Three::new()?.locks(&["--address", AT_ELSEWHERE], &[1, 2])
}

#[test]
fn a_lock_of_a_network_names_all_who_come_from_there() -> Result<()> {
    Three::new()?.locks(&["--address", "198.51.111.0/24"], &[0])
}

#[test]
fn a_lock_of_a_session_cuts_it_and_keeps_nobody_out() -> Result<()> {
    let mut three = Three::new()?;
    let id = text(&three.listed[0], "id")?.to_owned();
    three.scene.agent.told(&["lock", "--session", &id])?;
    within(AT_ONCE, "the client notices", || three.sessions[0].ended())?;
    for at in [1, 2] {
        assert!(three.sessions[at].echoes("still here", Duration::from_secs(10))?, "{at}");
    }
    for identity in &three.identities {
        assert_eq!(login(identity).succeed("echo in")?, "in\n");
    }
    Ok(())
}

#[test]
fn a_lock_for_a_time_ends_by_itself() -> Result<()> {
    let scene = Scene::enforcing()?;
    let alice = scene.alice()?;
    let answer = scene.agent.json(&["lock", "--login", "alice", "--for", "10s"])?;
    assert_eq!(scene.at_alice(&alice).run("echo in")?.status.code(), Some(255));
    let lock = answer["lock"]["id"].clone();
    eventually("the lock is gone", || {
        Ok((scene.agent.json(&["locks"])? == serde_json::json!([])).then_some(()))
    })?;
    assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
    scene.agent.event("unlocked", |event| event["event"] == "unlocked" && event["lock"] == lock).map(drop)
}

#[test]
fn a_break_glass_login_stays_and_comes_back_whatever_is_locked() -> Result<()> {
    let scene = Scene::enforcing()?;
    let key = scene.break_glass()?;
    let mut session = scene.at_alice(&key).stay()?;
    scene.session_of("alice")?;
    for target in [["--login", "alice"], ["--address", AT_ALICE]] {
        let answer = scene.agent.json(&[&["lock"], &target[..]].concat())?;
        assert_eq!(answer["cut"], serde_json::json!([]), "{target:?}");
    }
    assert!(session.echoes("still here", Duration::from_secs(10))?);
    let mut second = scene.at_alice(&key).stay()?;
    assert!(second.echoes("and here", Duration::from_secs(10))?);
    assert_eq!(scene.sessions()?.len(), 2);
    Ok(())
}

/// What makes alice's host one that is never dropped.
const SPARED: &str = "never_drop = [\"198.51.111.0/24\"]";

/// What the loaded program says of the packets of a session's connection.
fn explained(scene: &Scene, session: &Value) -> Result<Value> {
    scene.agent.json(&["explain", "--from", text(session, "peer")?, "--to", text(session, "local")?])
}

#[test]
fn packets_of_a_source_in_never_drop_pass_also_when_their_session_is_over() -> Result<()> {
    let mut scene = Scene::new("enforce", |agent| agent.line(SPARED), |sshd| sshd)?;
    let order = Order { options: &[ENDING], validity: "-1m:+12s", ..Order::login("alice", &["alice"]) };
    let mut session = scene.at_alice(&scene.ca.issue("alice", &order.pinned(AT_ALICE))?).stay()?;
    let listed = scene.session_of("alice")?;
    assert_eq!(explained(&scene, &listed)?["reason"], "pinned");
    // A living agent would end the connection, as it does for whoever it cuts.
    scene.agent.kill9()?;
    let over = eventually("the deadline", || {
        Ok(Some(explained(&scene, &listed)?).filter(|answer| answer["reason"] != "pinned"))
    })?;
    assert_eq!((&over["action"], &over["reason"]), (&"pass".into(), &"never_drop".into()));
    assert!(session.echoes("still heard", Duration::from_secs(10))?);
    Ok(())
}

#[test]
fn a_lock_ends_the_session_of_a_source_in_never_drop_but_drops_none_of_its_packets() -> Result<()> {
    let scene = Scene::new("audit", |agent| agent.line(SPARED), |sshd| sshd)?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    let listed = scene.session_of("alice")?;
    scene.agent.told(&["lock", "--login", "alice"])?;
    assert_eq!(scene.session_of("alice")?["state"], "cut");
    let answer = explained(&scene, &listed)?;
    assert_eq!((&answer["action"], &answer["reason"]), (&"pass".into(), &"never_drop".into()));
    assert!(session.echoes("still heard", Duration::from_secs(10))?);
    scene.agent.told(&["mode", "enforce"])?;
    within(AT_ONCE, "the client notices", || session.ended()).map(drop)
}

#[test]
fn a_source_in_never_drop_is_denied_as_often_as_it_tries_and_never_kept_out() -> Result<()> {
    let strict = "penalties = { denials = 3, within_seconds = 60, seconds = 600 }";
    let scene = Scene::new("enforce", |agent| agent.line(SPARED).line(strict), |sshd| sshd)?;
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let unpinned = scene.ca.issue("unpinned", &order)?;
    let limit = "-oConnectTimeout=5";
    for _ in 0..6 {
        let output = scene.at_alice(&unpinned).option(limit).run("echo in")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("Permission denied"), "{complaint}");
    }
    assert_eq!(scene.at_alice(&scene.bob()?).option(limit).succeed("echo in")?, "in\n");
    Ok(())
}
