//! The trail of what it decided and what was done to it.

use anyhow::{Result, ensure};
use lab::Authority;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{PASSWORD, Story, output};
use crate::scene::text;

fn names(authority: &Authority) -> Result<Vec<String>> {
    authority.events()?.iter().map(|event| text(event, "event").map(str::to_owned)).collect()
}

#[test]
fn a_login_leaves_two_lines_as_nodes_write_them_and_a_denied_one_its_reason() -> Result<()> {
    let story = Story::begin("")?;
    let home = story.lab.alice();
    story.authority.log_in(&home, "alice", "wrong")?;
    let denied = story.authority.event("the denial", |event| event["event"] == "login_denied")?;
    assert_eq!((&denied["reason"], &denied["user"]), (&json!("wrong"), &json!("alice")));
    let login = story.authority.log_in(&home, "alice", PASSWORD)?;
    ensure!(login.status.success(), "{}", output(&login));
    let issued = story.authority.event("a certificate", |event| event["event"] == "certificate_issued")?;
    story.authority.event("the login", |event| event["event"] == "login_allowed")?;
    for (member, value) in [
        ("cluster", json!("example.com")),
        ("node", json!("node")),
        ("user", json!("alice")),
        ("serial", json!(1)),
        ("logins", json!(["alice"])),
        ("roles", json!(["pinned-ip"])),
        ("pinned", json!(["198.51.111.1/32"])),
        ("observed", json!("198.51.111.1")),
        ("observed_how", json!("direct")),
    ] {
        assert_eq!(issued[member], value, "{member} of {issued}");
    }
    ensure!(text(&issued, "ca")?.starts_with("SHA256:") && text(&issued, "key")?.starts_with("SHA256:"));
    Ok(())
}

#[test]
fn what_is_done_on_the_command_line_is_in_the_trail_and_not_on_standard_output() -> Result<()> {
    let story = Story::begin("")?;
    let steps: [(&[&str], &str); 7] = [
        (&["user", "add", "bob", "--role", "open"], "user_added"),
        (&["user", "set", "bob", "--role", "pinned-ip", "--login", "deploy"], "user_changed"),
        (&["user", "lock", "bob"], "user_locked"),
        (&["user", "unlock", "bob"], "user_unlocked"),
        (&["user", "passwd", "bob"], "password_changed"),
        (&["user", "second-factor", "bob", "--remove"], "second_factor_removed"),
        (&["user", "rm", "bob"], "user_removed"),
    ];
    for (arguments, event) in steps {
        let done = story.authority.told(arguments, "a good password")?;
        ensure!(done.status.success() && done.stdout.is_empty(), "{arguments:?}: {}", output(&done));
        let written =
            story.authority.event(event, |found| found["event"] == event && found["user"] == "bob")?;
        if event == "user_changed" {
            assert_eq!((&written["roles"], &written["logins"]), (&json!(["pinned-ip"]), &json!(["deploy"])));
        }
        let listed = story.authority.told(&["user", "ls", "--json"], "")?;
        let listed = String::from_utf8(listed.stdout)?;
        let bob = listed
            .lines()
            .map(serde_json::from_str::<Value>)
            .find_map(|it| it.ok().filter(|it| it["user"] == "bob"));
        assert_eq!(bob.is_none(), event == "user_removed", "{listed}");
    }
    for arguments in
        [&["user", "rm", "bob"][..], &["user", "set", "bob", "--login", "x"], &["user", "lock", "bob"]]
    {
        assert_eq!(story.authority.told(arguments, "")?.status.code(), Some(1), "{arguments:?}");
    }
    let unfit = story.authority.told(&["user", "add", "no name", "--role", "open"], "a good password")?;
    assert_eq!(unfit.status.code(), Some(2), "{}", output(&unfit));
    Ok(())
}

#[test]
fn a_reload_is_all_or_nothing_and_says_which() -> Result<()> {
    let story = Story::begin("")?;
    let (home, node) = (story.lab.alice(), story.lab.node());
    node.write(
        "/etc/cotter/roles.d/new.yaml",
        "kind: role\nversion: v7\nmetadata: {name: new}\nspec: {options: {pin_source_ip: perhaps}}\n",
    )?;
    let checked = story.authority.told(&["config", "check"], "")?;
    assert_eq!(checked.status.code(), Some(2));
    ensure!(output(&checked).contains("/etc/cotter/roles.d/new.yaml:4:"), "{}", output(&checked));
    story.authority.signal(Signal::HUP)?;
    let failed = story.authority.event("the refusal", |event| event["event"] == "reload_failed")?;
    ensure!(text(&failed, "error")?.contains("/etc/cotter/roles.d/new.yaml:4:"), "{failed}");
    ensure!(
        story.authority.log_in(&home, "alice", PASSWORD)?.status.success(),
        "what was in force is in force"
    );

    node.write(
        "/etc/cotter/roles.d/new.yaml",
        "kind: role\nversion: v7\nmetadata: {name: new}\nspec: {options: {pin_source_ip: true}}\n",
    )?;
    story.authority.signal(Signal::HUP)?;
    let reloaded = story.authority.event("the reload", |event| event["event"] == "reloaded")?;
    ensure!(reloaded["roles"].as_array().is_some_and(|roles| roles.contains(&json!("new"))), "{reloaded}");
    story.authority.add("bob", PASSWORD, &["--role", "new"])?;
    ensure!(story.authority.log_in(&home, "bob", PASSWORD)?.status.success(), "a new role counts");
    Ok(())
}

#[test]
fn what_strangers_can_write_there_is_bounded_and_counted() -> Result<()> {
    let mut story = Story::begin("")?;
    let away = story.lab.elsewhere();
    for number in 0..12 {
        story.authority.log_in(&away, &format!("guess{number}"), "wrong")?;
    }
    ensure!(story.authority.stop()?.success(), "it ends in order");
    let names = names(&story.authority)?;
    assert_eq!(names.iter().filter(|name| *name == "login_denied").count(), 5, "{names:?}");
    let summed = story.authority.event("the sum", |event| event["event"] == "denials_suppressed")?;
    assert_eq!((&summed["count"], &summed["observed"]), (&json!(7), &json!("198.51.222.2")));
    assert_eq!(names.last().map(String::as_str), Some("authority_stopped"));
    Ok(())
}
