//! The audit trail in the event file: one JSON object a decision, with all its members, and never a flood.

use std::time::Duration;

use anyhow::Result;
use lab::{Order, within};
use serde_json::Value;

use crate::scene::{AT_ALICE, PINNING, Scene};

/// Members of each event, of those about a certificate, and of those about a login from an address.
const ALWAYS: [&str; 4] = ["time", "node", "mode", "event"];
const OF_CERTIFICATES: [&str; 9] =
    ["cluster", "user", "login", "serial", "ca", "roles", "pinned", "observed", "observed_how"];

fn assert_has(event: &Value, members: &[&str]) {
    for member in members {
        assert!(!event[member].is_null(), "no {member} in {event}");
    }
}

#[test]
fn each_decision_is_one_json_object_with_all_that_is_known() -> Result<()> {
    let scene = Scene::enforcing()?;
    let order = Order { serial: 77, options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let alice = scene.ca.issue("alice", &order.pinned(AT_ALICE))?;
    let mut session = scene.at_alice(&alice).stay()?;
    scene.at_elsewhere(&alice).run("echo in")?;
    scene.agent.told(&["lock", "--user", "example.com/alice", "--reason", "a \"quoted\"\nreason"])?;
    within(Duration::from_secs(3), "the client notices", || session.ended())?;
    scene.deserted()?;
    scene.agent.told(&["mode", "audit"])?;

    let of = |kind: &str| scene.agent.event(kind, |event| event["event"] == kind);
    for kind in ["login_denied", "login_allowed", "session_opened", "session_cut", "session_closed"] {
        let event = of(kind)?;
        assert_has(&event, &ALWAYS);
        assert_has(&event, &OF_CERTIFICATES);
        assert_eq!((&event["cluster"], &event["user"]), (&"example.com".into(), &"alice".into()));
        assert_eq!((&event["login"], &event["serial"]), (&"alice".into(), &77.into()));
        assert_eq!((&event["roles"][0], &event["pinned"][0]), (&"pinned-ip".into(), &AT_ALICE.into()));
        assert_eq!(event["node"], "node");
    }
    let denied = of("login_denied")?;
    assert_eq!((&denied["reason"], &denied["observed"]), (&"pin_mismatch".into(), &"198.51.222.2".into()));
    assert_eq!(of("login_allowed")?["reason"], "allowed");
    assert_eq!(of("login_allowed")?["observed"], "198.51.111.1");
    assert_eq!(of("session_cut")?["cause"], "lock");
    assert_eq!(of("locked")?["comment"], "a \"quoted\"\nreason");
    let changed = of("mode_changed")?;
    assert_eq!((&changed["from"], &changed["to"]), (&"enforce".into(), &"audit".into()));
    for event in scene.agent.events()? {
        assert!(event.is_object(), "{event}");
        assert_has(&event, &ALWAYS);
    }
    Ok(())
}

#[test]
fn of_many_denials_five_a_source_and_minute_are_told_and_the_rest_is_counted() -> Result<()> {
    const MORE: u64 = 3;
    let scene = Scene::new("enforce", |agent| agent.line("penalties = { denials = 0 }"), |sshd| sshd)?;
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let unpinned = scene.ca.issue("alice", &order)?;
    // All at once, as a minute may be short on a slow machine.
    std::thread::scope(|scope| {
        let logins: Vec<_> =
            (0..5 + MORE).map(|_| scope.spawn(|| scene.at_alice(&unpinned).run("echo in"))).collect();
        for login in logins {
            assert_eq!(login.join().expect("no panic")?.status.code(), Some(255));
        }
        anyhow::Ok(())
    })?;
    // Another source has a share of its own.
    assert_eq!(scene.at_elsewhere(&unpinned).run("echo in")?.status.code(), Some(255));
    let from = |address: &str, kind: &str| -> Result<Vec<Value>> {
        let events = scene.agent.events()?.into_iter();
        Ok(events.filter(|event| event["event"] == kind && event["observed"] == address).collect())
    };
    assert_eq!(from("198.51.111.1", "login_denied")?.len(), 5);
    assert_eq!(from("198.51.222.2", "login_denied")?.len(), 1);
    let summary = within(Duration::from_secs(90), "the rest is summed up", || {
        Ok(from("198.51.111.1", "denials_suppressed")?.pop())
    })?;
    assert_eq!(summary["count"], MORE, "{summary}");
    assert_eq!(from("198.51.222.2", "denials_suppressed")?, [] as [Value; 0]);
    Ok(())
}
