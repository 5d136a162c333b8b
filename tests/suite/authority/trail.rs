//! What is in the trail exactly once, and what strangers can write there before anything is judged.

use anyhow::{Result, ensure};
use lab::{AgentSetup, Answer, Authority, Https, NODE_V4, Place, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{PASSWORD, Story};
use crate::scene::text;

/// Events of locks, as `EVENT LOCK`, in their order.
fn locks(authority: &Authority) -> Result<Vec<String>> {
    let events = authority.events()?.into_iter().filter(|event| event["lock"].is_string());
    events.map(|event| Ok(format!("{} {}", text(&event, "event")?, text(&event, "lock")?))).collect()
}

fn lock(authority: &Authority, arguments: &[&str]) -> Result<String> {
    let told: Value = serde_json::from_str(&authority.run(&[&["lock", "--json"], arguments].concat())?)?;
    Ok(text(&told["lock"], "id")?.to_owned())
}

#[test]
fn a_lock_is_in_the_trail_once_whether_an_authority_runs_or_not() -> Result<()> {
    let mut story = Story::begin("")?;
    let first = lock(&story.authority, &["--user", "alice", "--reason", "lost laptop"])?;
    let locked = story.authority.event("the lock", |event| event["event"] == "locked")?;
    assert_eq!(
        (&locked["target"], &locked["comment"]),
        (&json!("user example.com/alice"), &json!("lost laptop"))
    );
    ensure!(story.authority.stop()?.success(), "it ends in order");
    story.authority.run(&["unlock", &first])?;
    let second = lock(&story.authority, &["--login", "root"])?;
    story.authority.run(&["unlock", &second])?;
    let third = lock(&story.authority, &["--login", "root"])?;
    story.authority.restart()?;
    story.authority.run(&["unlock", &third])?;
    let fourth = lock(&story.authority, &["--address", "203.0.113.0/24"])?;
    eventually("nodes get it", || {
        let answer = get(&story.authority, &story.lab.alice(), "/v1/policy")?;
        Ok(answer.body.contains(&fourth).then_some(()))
    })?;
    // What comes last is written last: by then all else is.
    story.authority.stop()?;
    let expected = [("locked", &first), ("unlocked", &first), ("locked", &second), ("unlocked", &second)];
    let expected =
        expected.into_iter().chain([("locked", &third), ("unlocked", &third), ("locked", &fourth)]);
    let expected: Vec<String> = expected.map(|(event, id)| format!("{event} {id}")).collect();
    assert_eq!(locks(&story.authority)?, expected);
    Ok(())
}

#[test]
fn whoever_is_removed_is_locked_at_the_nodes_and_the_trail_has_both() -> Result<()> {
    let story = Story::begin("")?;
    ensure!(story.authority.log_in(&story.lab.alice(), "alice", PASSWORD)?.status.success());
    story.authority.run(&["user", "rm", "alice"])?;
    story.authority.event("the removal", |event| event["event"] == "user_removed")?;
    let locked = story.authority.event("the lock", |event| event["event"] == "locked")?;
    assert_eq!(locked["target"], "user example.com/alice");
    Ok(())
}

#[test]
fn which_roles_are_others_is_in_the_trail_at_a_reload_and_at_a_start() -> Result<()> {
    let mut story = Story::begin("")?;
    let changes = |authority: &Authority| -> Result<Vec<Value>> {
        Ok(authority.events()?.into_iter().filter(|event| event["event"] == "roles_changed").collect())
    };
    let first = story.authority.event("the first roles", |event| event["event"] == "roles_changed")?;
    assert_eq!(first["added"], json!(["open", "pinned-ip"]));
    AgentSetup::new("enforce")
        .role("open", &["pin_source_ip: true"])
        .role("new", &[])
        .write_roles(&story.lab)?;
    story.authority.signal(Signal::HUP)?;
    let second = story.authority.event("the reload's", |event| event["added"] == json!(["new"]))?;
    assert_eq!((&second["changed"], second.get("removed")), (&json!(["open"]), None));
    story.authority.stop()?;
    story.authority.restart()?;
    story.authority.stop()?;
    assert_eq!(changes(&story.authority)?.len(), 2, "nothing is other");
    story.lab.node().run("rm", &["/etc/cotter/roles.d/new.yaml"])?;
    story.authority.restart()?;
    let third = story.authority.event("the start's", |event| event["removed"] == json!(["new"]))?;
    assert_eq!((third.get("added"), third.get("changed")), (None, None));
    Ok(())
}

fn request<'a>(
    authority: &'a Authority,
    from: &'a Place,
    before: &'a [u8],
    lines: &'a [&'a str],
) -> Https<'a> {
    Https { from, to: authority.at(NODE_V4.into()), fingerprint: authority.fingerprint(), before, lines }
}

fn get(authority: &Authority, from: &Place, path: &str) -> Result<Answer> {
    request(authority, from, b"", &[]).get(path)
}

/// A balancer's own connection, in version 2.
const HEALTH_CHECK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// A connection of a balancer that writes `X-Forwarded-For`.
const INNER: &[u8] = b"PROXY TCP4 10.0.0.1 198.51.100.10 1 2\r\n";
const ALICE: &[u8] = b"PROXY TCP4 198.51.111.1 198.51.100.10 1 2\r\n";

#[test]
fn what_is_refused_before_it_is_judged_is_in_the_trail_and_no_password_and_no_flood_is() -> Result<()> {
    let lines = "proxy_protocol = \"on\"\ntrust_x_forwarded_for = true\n\
                 trusted_proxies = [\"198.51.222.2\", \"10.0.0.0/8\"]\npolicy_readers = [\"192.0.2.0/24\"]\n";
    let mut story = Story::begin(lines)?;
    let (authority, hop) = (&story.authority, story.lab.elsewhere());
    let denied = |event: &'static str, reason: &'static str| {
        authority.event(reason, move |found| found["event"] == event && found["reason"] == reason)
    };
    let login = json!({ "user": "alice", "password": PASSWORD, "public_key": "" });

    let answer = request(authority, &hop, INNER, &["X-Forwarded-For: nonsense"]).post("/v1/login", &login)?;
    assert_eq!(answer.status, 400, "{answer:?}");
    let event = denied("login_denied", "malformed")?;
    assert_eq!(
        (event.get("observed"), event.get("user")),
        (None, None),
        "nobody vouches for either: {event}"
    );

    let answer = request(authority, &hop, HEALTH_CHECK, &[]).post("/v1/login", &login)?;
    assert_eq!(answer.status, 403, "{answer:?}");
    denied("login_denied", "health_check")?;

    let answer = request(authority, &hop, ALICE, &[]).get("/v1/policy")?;
    assert_eq!((answer.status, &answer.json()?["error"]), (403, &json!("forbidden")));
    let event = denied("policy_denied", "forbidden")?;
    assert_eq!(event["observed"], "198.51.111.1");
    let reader = b"PROXY TCP4 192.0.2.7 198.51.100.10 1 2\r\n";
    assert_eq!(request(authority, &hop, reader, &[]).get("/v1/policy")?.status, 200);

    for _ in 0..9 {
        let numbers = json!({ "user": "alice", "password": 271_828_182, "public_key": "" });
        let answer = request(authority, &hop, ALICE, &[]).post("/v1/login", &numbers)?;
        assert_eq!(answer.status, 422, "{answer:?}");
    }
    story.authority.stop()?;
    let events = story.authority.events()?;
    let from_alice = events.iter().filter(|event| {
        event["observed"] == "198.51.111.1"
            && text(event, "event").is_ok_and(|name| name.ends_with("_denied"))
    });
    assert_eq!(from_alice.count(), 5, "of one source five a minute");
    let sum = events.iter().find(|event| event["event"] == "denials_suppressed" && event["count"] == 5);
    ensure!(sum.is_some(), "{events:?}");
    ensure!(
        !events.iter().any(|event| event.to_string().contains("271828182")),
        "a password is in the trail"
    );
    Ok(())
}
