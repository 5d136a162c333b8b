//! What its command line lists and locks, and what anybody may ask.

use anyhow::{Context, Result, ensure};
use lab::{Authority, Https, Login, NODE_V4, Place};
use serde_json::{Value, json};

use super::{PASSWORD, Story};
use crate::scene::text;

fn https<'a>(authority: &'a Authority, from: &'a Place) -> Https<'a> {
    let to = authority.at(NODE_V4.into());
    Https { from, to, fingerprint: authority.fingerprint(), before: b"", lines: &[] }
}

impl Story {
    /// What a listing says as JSON: one value, or one a line.
    fn listed(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let listed = self.authority.run(&[arguments, &["--json"]].concat())?;
        listed.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

#[test]
fn locks_are_laid_by_what_is_named_listed_and_taken_away() -> Result<()> {
    let story = Story::begin("")?;
    let home = story.lab.alice();
    let lock = |arguments: &[&str]| -> Result<String> {
        let told = story.authority.run(&[&["lock", "--json"], arguments].concat())?;
        Ok(text(&serde_json::from_str::<Value>(&told)?["lock"], "id")?.to_owned())
    };
    lock(&["--serial", "7", "--for", "1h", "--reason", "lost"])?;
    let login = lock(&["--login", "root"])?;
    let listed = &story.listed(&["locks"])?[0];
    let of = |target: Value| -> Result<&Value> {
        let mut locks = listed.as_array().context("no list")?.iter();
        locks.find(|lock| lock["target"] == target).with_context(|| format!("no {target} in {listed}"))
    };
    let serial = of(json!({ "serial": { "serial": 7, "cluster": "example.com" } }))?;
    assert_eq!((&serial["reason"], &of(json!({ "login": "root" }))?["id"]), (&json!("lost"), &json!(login)));
    let hour =
        serial["until"].as_u64().zip(serial["created"].as_u64()).map(|(until, created)| until - created);
    assert_eq!(hour, Some(3600));
    let table = story.authority.run(&["locks"])?;
    ensure!(
        table.contains("serial 7 of example.com") && table.contains(&format!("{login}  login root")),
        "{table}"
    );
    ensure!(story.authority.log_in(&home, "alice", PASSWORD)?.status.success(), "neither is hers");
    story.authority.run(&["unlock", &login])?;
    assert_eq!(story.listed(&["locks"])?[0].as_array().map(Vec::len), Some(1));
    let again = story.authority.told(&["unlock", &login], "")?;
    assert_eq!(again.status.code(), Some(1));
    for nothing in [&["lock"][..], &["lock", "--login", "x", "--serial", "1"], &["lock", "--serial", "x"]] {
        assert_eq!(story.authority.told(nothing, "")?.status.code(), Some(2), "{nothing:?}");
    }
    Ok(())
}

#[test]
fn people_and_keys_are_listed_for_people_and_for_programs() -> Result<()> {
    let story = Story::begin("")?;
    story.authority.add("bob", PASSWORD, &["--role", "open", "--login", "deploy", "--second-factor"])?;
    story.authority.run(&["user", "lock", "bob"])?;
    let table = story.authority.run(&["user", "ls"])?;
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["USER", "ROLES", "LOGINS", "SECOND", "FACTOR", "LOCKED"]);
    assert_eq!(words[1], ["alice", "pinned-ip", "alice", "no", "no"]);
    assert_eq!(words[2], ["bob", "open", "deploy", "yes", "yes"]);
    let people = story.listed(&["user", "ls"])?;
    assert_eq!(people[1]["logins"], json!(["deploy"]));

    let exported = story.authority.run(&["ca", "export"])?;
    story.lab.node().write("/root/exported.pub", &exported)?;
    let shown = story.lab.node().run("ssh-keygen", &["-l", "-f", "/root/exported.pub"])?;
    let fingerprint = shown.split_whitespace().nth(1).context("no fingerprint")?;
    let keys = story.authority.run(&["ca", "ls"])?;
    ensure!(keys.contains(fingerprint), "{keys}");
    let keys = story.listed(&["ca", "ls"])?;
    ensure!(keys.len() == 1 && keys[0].to_string().contains(fingerprint), "{keys:?}");
    Ok(())
}

#[test]
fn the_next_versions_requests_are_answered() -> Result<()> {
    let story = Story::begin("")?;
    let home = story.lab.alice();
    let request = https(&story.authority, &home);
    let login: Value = serde_json::from_str(include_str!("../../../api/tests/next/login-request.json"))?;
    assert_eq!(login["password"], PASSWORD);
    let answer = request.post("/v1/login", &login)?;
    assert_eq!((answer.status, &answer.json()?["pinned"]), (200, &json!(["198.51.111.1/32"])), "{answer:?}");
    let statement = include_str!("../../../api/tests/next/observations-request.json");
    let answer = request.post("/v1/observations", &serde_json::from_str(statement)?)?;
    ensure!(answer.status == 200 && answer.json()?["token"].is_string(), "{answer:?}");
    assert_eq!(request.get("/v1/policy?after=0&wait=0&compressed=yes")?.status, 200);
    assert_eq!(request.get("/v2/login")?.status, 404);
    Ok(())
}

#[test]
fn a_lock_of_a_serial_number_keeps_that_certificate_out_and_no_other() -> Result<()> {
    let lab = lab::Lab::start()?;
    let setup = lab::AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]);
    setup.write(&lab)?;
    let authority = Authority::start(&lab, "")?;
    let agent = lab::AgentSetup::new("enforce").following(&authority)?.start(&lab)?;
    let sshd = lab::SshdSetup::with_cotter(&authority.ca)?.line(&Authority::trusted_by_sshd());
    lab::eventually("a policy is in force", || {
        Ok(agent.json(&["status"])?["following"]["version"].as_u64().map(drop))
    })?;
    let _sshd = sshd.start(&lab)?;
    authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
    let home = lab.alice();
    let login = Login::new(&home, &authority.identity(&home, "alice", PASSWORD)?, "alice");
    assert_eq!(login.succeed("echo in")?, "in\n");
    authority.run(&["lock", "--serial", "1"])?;
    lab::eventually(
        "the certificate is locked",
        || Ok((!login.run("true")?.status.success()).then_some(())),
    )?;
    let again = Login::new(&home, &authority.identity(&home, "alice", PASSWORD)?, "alice");
    assert_eq!(again.succeed("echo in")?, "in\n");
    Ok(())
}
