//! What there is with PostgreSQL alone: several authorities, and a server that can hang or go.

use anyhow::{Context, Result, ensure};
use cotter_api::{PolicyDocument, PolicyKey, SignedPolicy};
use lab::{Agent, AgentSetup, Authority, Https, Lab, Login, NODE_V4, Sshd, SshdSetup, Storage, eventually};
use serde_json::Value;

use super::{PASSWORD, Story, output};
use crate::scene::text;

/// Two authorities on one server, set up as `docs/running-an-authority.md` says, and a node that follows the first.
struct Two {
    first: Authority,
    second: Authority,
    agent: Agent,
    _sshd: Sshd,
    lab: Lab,
}

impl Two {
    fn begin() -> Result<Self> {
        let lab = Lab::start()?;
        AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]).write(&lab)?;
        let first = Authority::on(Storage::Postgres, &lab, "")?;
        let second = first.beside("")?;
        let agent = AgentSetup::new("enforce").following(&first)?.start(&lab)?;
        eventually("a policy is in force", || Ok(in_force(&agent)?.map(drop)))?;
        let sshd = SshdSetup::with_cotter(&first.ca)?.line(&Authority::trusted_by_sshd()).start(&lab)?;
        second.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
        let mut two = Self { first, second, agent, _sshd: sshd, lab };
        two.both_listen()?;
        Ok(two)
    }

    /// Alice's login at the node with what a login at this authority gives her.
    fn alice(&self, authority: &Authority) -> Result<Login> {
        let home = self.lab.alice();
        Ok(Login::new(&home, &authority.identity(&home, "alice", PASSWORD)?, "alice"))
    }

    /// Locks her at the second; the version in force at the node once it knows.
    fn lock(&self) -> Result<u64> {
        let before = in_force(&self.agent)?;
        self.second.run(&["lock", "--user", "alice"])?;
        eventually("the lock is at the node", || Ok(in_force(&self.agent)?.filter(|now| Some(*now) > before)))
    }

    /// How the first has come upon this version: `told of`, or `found by looking`, which it does every five seconds.
    fn how(&self, version: u64) -> Result<String> {
        let before = format!("version {version} of the policy, ");
        eventually("the first has it", || {
            let log = self.first.log()?;
            Ok(log.lines().find_map(|line| Some(line.split_once(&before)?.1.to_owned())))
        })
    }

    /// Waits until both listen on the server; the process ids of its ends.
    fn both_listen(&mut self) -> Result<Vec<String>> {
        eventually("both listen", || Ok(Some(self.listening()?).filter(|listening| listening.len() == 2)))
    }

    /// Those who listen on the server.
    fn listening(&mut self) -> Result<Vec<String>> {
        let select = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %' ORDER BY pid";
        self.first.postgres()?.ask(select)
    }
}

/// The version in force at a node.
fn in_force(agent: &Agent) -> Result<Option<u64>> {
    Ok(agent.json(&["status"])?["following"]["version"].as_u64())
}

#[test]
fn a_lock_made_at_one_authority_is_told_to_the_other_and_cuts_at_the_nodes_that_follow_it() -> Result<()> {
    let two = Two::begin()?;
    let login = two.alice(&two.first)?;
    let mut session = login.stay()?;
    let version = two.lock()?;
    eventually("her session is cut", || session.ended())?;
    let mark = two.agent.mark()?;
    ensure!(!login.run("true")?.status.success(), "she got in again");
    two.agent.event_since(mark, "the denial", |event| event["reason"] == "locked")?;
    assert_eq!(two.how(version)?, "told of");
    Ok(())
}

#[test]
fn both_hand_out_the_same_policy_signed_by_the_key_that_nodes_know() -> Result<()> {
    let mut two = Two::begin()?;
    let version = two.lock()?;
    // A start with the same files changes nothing.
    two.second.stop()?;
    two.second.restart()?;
    let key: PolicyKey = two.first.policy_key()?.parse()?;
    let shown = |authority: &Authority| -> Result<PolicyDocument> {
        let (from, to) = (two.lab.alice(), authority.at(NODE_V4.into()));
        let https = Https { from: &from, to, fingerprint: two.first.fingerprint(), before: b"", lines: &[] };
        let answer = https.get(&format!("/v1/policy?after={}&wait=30", version - 1))?;
        let signed: SignedPolicy = serde_json::from_str(&answer.body).context(answer.status)?;
        Ok(signed.verify(std::slice::from_ref(&key))?)
    };
    let (first, second) = (shown(&two.first)?, shown(&two.second)?);
    assert_eq!((first.version, first.locks.len()), (version, 1));
    // Each has signed it at a time of its own.
    assert_eq!(PolicyDocument { issued_at: 0, ..first }, PolicyDocument { issued_at: 0, ..second });
    Ok(())
}

#[test]
fn whichever_is_killed_logins_go_on_at_the_other_and_are_good_at_the_node() -> Result<()> {
    let mut two = Two::begin()?;
    two.second.kill9()?;
    assert_eq!(two.alice(&two.first)?.succeed("echo by the first")?, "by the first\n");
    two.second.restart()?;
    two.first.kill9()?;
    // The node goes on with what it knows.
    assert_eq!(two.alice(&two.second)?.succeed("echo by the second")?, "by the second\n");
    let serials = [&two.first, &two.second]
        .map(|authority| authority.event("a certificate", |event| event["event"] == "certificate_issued"));
    let [first, second] = serials;
    ensure!(first?["serial"] != second?["serial"], "one number for both");
    Ok(())
}

#[test]
fn who_listens_and_is_cut_off_listens_again_and_has_missed_nothing() -> Result<()> {
    let mut two = Two::begin()?;
    let before = two.both_listen()?;
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'";
    assert_eq!(two.first.postgres()?.ask(end)?, ["t", "t"]);
    // Nobody listens when she is locked, or just so.
    two.lock()?;
    let after = two.both_listen()?;
    ensure!(before.iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");
    let version = two.lock()?;
    assert_eq!(two.how(version)?, "told of");
    Ok(())
}

#[test]
fn after_a_crash_of_the_server_all_that_was_acknowledged_is_there_and_changes_are_told_again() -> Result<()> {
    let mut two = Two::begin()?;
    let login = two.alice(&two.first)?;
    two.second.add("bob", PASSWORD, &["--role", "pinned-ip"])?;
    let before = two.lock()?;
    two.first.postgres()?.crash()?;
    let refused = output(&two.first.log_in(&two.lab.alice(), "bob", PASSWORD)?);
    ensure!(refused.contains("nothing was issued"), "{refused}");
    ensure!(!login.run("true")?.status.success(), "the node goes on with the lock");
    two.first.postgres()?.restart()?;
    two.both_listen()?;
    for authority in [&two.first, &two.second] {
        let login = authority.log_in(&two.lab.alice(), "bob", PASSWORD)?;
        ensure!(login.status.success(), "{}", output(&login));
        let locked = authority.log_in(&two.lab.alice(), "alice", PASSWORD)?;
        ensure!(output(&locked).contains("locked out"), "{}", output(&locked));
    }
    let version = two.lock()?;
    ensure!(version > before, "{version} after {before}");
    assert_eq!(two.how(version)?, "told of");
    Ok(())
}

#[test]
fn what_nobody_tells_of_is_found_by_looking_and_the_log_says_so() -> Result<()> {
    let mut two = Two::begin()?;
    let before = in_force(&two.agent)?.context("no policy is in force")?;
    let raise = "UPDATE counter SET value = value + 1 WHERE name = 'policy'";
    two.first.postgres()?.ask(raise)?;
    let version = before + 1;
    eventually("the node has it", || Ok((in_force(&two.agent)? == Some(version)).then_some(())))?;
    assert_eq!(two.how(version)?, "found by looking");
    Ok(())
}

#[test]
fn a_server_that_hangs_or_is_gone_is_given_up_and_once_it_is_back_all_goes_on() -> Result<()> {
    let mut story = Story::on(Storage::Postgres, "")?;
    let home = story.lab.alice();
    story.authority.postgres()?.pause()?;
    let said = output(&story.authority.log_in(&home, "alice", PASSWORD)?);
    ensure!(said.contains("nothing was issued"), "{said}");
    story.authority.postgres()?.resume()?;
    eventually("logins work again", || {
        let login = story.authority.log_in(&home, "alice", PASSWORD)?;
        Ok(login.status.success().then_some(()))
    })?;
    story.authority.postgres()?.crash()?;
    let said = output(&story.authority.log_in(&home, "alice", PASSWORD)?);
    ensure!(said.contains("the authority's storage does not answer; nothing was issued"), "{said}");
    let denied = story.authority.event("the denial", |event| event["reason"] == "storage_unavailable")?;
    ensure!(text(&denied, "error")?.starts_with("postgres:///postgres?host="), "{denied}");
    Ok(())
}

#[test]
fn whoever_looks_whether_logins_are_served_hears_it_and_that_they_are_not_once_the_storage_is_gone()
-> Result<()> {
    let mut story = Story::on(Storage::Postgres, "")?;
    let home = story.lab.alice();
    let health = |story: &Story| {
        let (to, fingerprint) = (story.authority.at(NODE_V4.into()), story.authority.fingerprint());
        Https { from: &home, to, fingerprint, before: b"", lines: &[] }.get("/healthz")
    };
    let answer = health(&story)?;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    story.authority.postgres()?.crash()?;
    let answer = health(&story)?;
    assert_eq!((answer.status, answer.body.as_str()), (503, "the storage does not answer\n"));
    Ok(())
}

#[test]
fn a_lock_is_in_the_trail_of_the_authority_at_which_it_was_laid_and_in_no_other() -> Result<()> {
    let mut two = Two::begin()?;
    two.lock()?;
    let locked = |event: &Value| event["event"] == "locked";
    two.second.event("the lock", locked)?;
    // What comes last is written last: by then all else is.
    two.first.stop()?;
    ensure!(!two.first.events()?.iter().any(locked), "the other has written it, too");
    Ok(())
}
