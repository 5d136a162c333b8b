//! Established sessions end: by lock, by command, by expiry, by a login from elsewhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lab::{Order, eventually, within};

use crate::scene::{AT_ALICE, AT_ELSEWHERE, ENDING, MOVING, Scene, text};

/// How soon a client must notice: the cut closes its socket, no time limit of TCP's is waited for.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn a_lock_cuts_the_session_at_once_and_keeps_its_user_out_until_unlocked() -> Result<()> {
    let scene = Scene::enforcing()?;
    let alice = scene.alice()?;
    let mut session = scene.at_alice(&alice).stay()?;
    let id = text(&scene.session_of("alice")?, "id")?.to_owned();
    let answer = scene.agent.json(&["lock", "--user", "example.com/alice", "--reason", "lost laptop"])?;
    within(AT_ONCE, "the client notices", || session.ended())?;
    scene.agent.event("cut by lock", |event| {
        event["event"] == "session_cut" && event["session"] == id.as_str() && event["cause"] == "lock"
    })?;
    scene.refused(&scene.at_alice(&alice), "locked")?;
    let lock = text(&answer["lock"], "id")?;
    scene.agent.told(&["unlock", lock])?;
    assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn a_lock_of_one_user_leaves_the_others_alone() -> Result<()> {
    let scene = Scene::enforcing()?;
    let mut bob = scene.at_alice(&scene.bob()?).stay()?;
    let mut alice = scene.at_alice(&scene.alice()?).stay()?;
    scene.agent.told(&["lock", "--login", "alice"])?;
    within(AT_ONCE, "alice's client notices", || alice.ended())?;
    assert!(bob.echoes("still here", Duration::from_secs(10))?);
    Ok(())
}

#[test]
fn a_lock_outlives_the_agent() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let alice = scene.alice()?;
    scene.agent.told(&["lock", "--address", AT_ALICE])?;
    scene.agent.kill9()?;
    scene.agent.start()?;
    scene.refused(&scene.at_alice(&alice), "locked").map(drop)
}

#[test]
fn cut_ends_one_session_and_lets_its_user_come_back() -> Result<()> {
    let scene = Scene::enforcing()?;
    let alice = scene.alice()?;
    let mut words = String::new();
    // Words that are not said at once are not said at all: a machine that has never run those who say them, and emulates its
    // processor, may be too slow the first time.
    for _ in 0..3 {
        let mut session = scene.at_alice(&alice).stay_at_terminal("true")?;
        let id = text(&scene.session_of("alice")?, "id")?.to_owned();
        scene.agent.told(&["cut", &id])?;
        words = session.last_words(AT_ONCE).context("the client notices")?;
        if !words.is_empty() {
            break;
        }
        scene.deserted()?;
    }
    ensure!(words.contains("an administrator has ended it"), "{words:?}");
    assert_eq!(
        scene.agent.cli(&["cut", "0123456789abcdef"])?.status.code(),
        Some(1),
        "there is no such session"
    );
    assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn a_session_that_ends_with_its_certificate_ends_at_that_second() -> Result<()> {
    let scene = Scene::enforcing()?;
    let order = Order { options: &[ENDING], validity: "-1m:+12s", ..Order::login("alice", &["alice"]) };
    let login = scene.at_alice(&scene.ca.issue("alice", &order.pinned(AT_ALICE))?);
    let mut session = login.stay_at_terminal("true")?;
    let ends_at = scene.session_of("alice")?["ends_at"].as_u64().context("the session has no end")?;
    let end = UNIX_EPOCH + Duration::from_secs(ends_at);
    session.hears("your certificate has expired; get a new one and log in again", Duration::from_secs(20))?;
    eventually("the client notices", || session.ended())?;
    let noticed = SystemTime::now();
    let late = noticed.duration_since(end).context("it ended before its time")?;
    assert!(late < AT_ONCE, "it ended {late:?} after its time");
    scene
        .agent
        .event("cut by expiry", |event| event["event"] == "session_cut" && event["cause"] == "expired")?;
    scene.deserted()
}

#[test]
fn a_login_from_elsewhere_ends_the_users_older_sessions_if_the_role_says_so() -> Result<()> {
    let scene = Scene::enforcing()?;
    let order = Order { options: &[MOVING], ..Order::login("alice", &["alice"]) };
    let here = scene.at_alice(&scene.ca.issue("alice", &order.pinned(AT_ALICE))?);
    let mut old = here.stay_at_terminal("true")?;
    scene.lab.node().run("mkdir", &["-p", "/root/example/else"])?;
    let moved = scene.ca.issue("else/alice", &order.pinned(AT_ELSEWHERE))?;
    let mut new = scene.at_elsewhere(&moved).stay()?;
    old.hears("you have logged in from another address", AT_ONCE)?;
    within(AT_ONCE, "the old client notices", || old.ended())?;
    scene.agent.event("cut", |event| event["event"] == "session_cut" && event["cause"] == "new_address")?;
    assert!(new.echoes("here now", Duration::from_secs(10))?);
    Ok(())
}
