//! Killed while people log in: nothing that it acknowledged is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use cotter_api::{AuthorityError, Issued, LoginRequest, Trust};
use lab::{Authority, Place, Storage, eventually};
use rustix::process::Signal;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};

use super::{PASSWORD, Story, output};

/// People who log in at once, again and again.
const PEOPLE: usize = 4;
/// Logins of each, before and after.
const LOGINS: usize = 8;

/// How tests ask, from threads of a place.
#[derive(Clone)]
struct Caller {
    authority: cotter_api::Authority,
    user: &'static str,
}

impl Caller {
    fn of(authority: &Authority, user: &'static str) -> Result<Self> {
        let trust = Trust::Fingerprint(authority.fingerprint().parse()?);
        Ok(Self { authority: cotter_api::Authority::new(authority.url().parse()?, trust), user })
    }

    /// One login with a key of its own.
    fn log_in(&self, from: &Place) -> Result<Issued> {
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
        let public_key = key.public_key().to_openssh()?;
        let request = LoginRequest {
            user: self.user.into(),
            password: PASSWORD.into(),
            code: None,
            public_key,
            other_observation: None,
        };
        from.enter(|| -> Result<Issued> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(self.authority.login(&request))?)
        })?
    }
}

/// With PostgreSQL there are two authorities, and whoever loses the one goes to the other; with SQLite there is one, which
/// is started again.
#[test]
fn one_that_is_killed_under_load_loses_no_login_that_it_acknowledged() -> Result<()> {
    let mut story = Story::begin("")?;
    let storage = story.authority.storage();
    let second = (storage == Storage::Postgres).then(|| story.authority.beside("")).transpose()?;
    let first = Caller::of(&story.authority, "alice")?;
    let other = second.as_ref().map_or_else(|| Ok(first.clone()), |second| Caller::of(second, "alice"))?;
    let (home, done) = (story.lab.alice(), AtomicUsize::new(0));
    let issued = std::thread::scope(|scope| -> Result<Vec<Issued>> {
        let person = || -> Result<Vec<Issued>> {
            let mut issued = Vec::new();
            let mut caller = &first;
            while issued.len() < 2 * LOGINS {
                match caller.log_in(&home) {
                    Ok(login) => {
                        issued.push(login);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    // Of one that dies, callers hear that it cannot be reached, and nothing else.
                    Err(error) => {
                        ensure!(is_unreachable(&error), "{error:#}");
                        caller = &other;
                    }
                }
            }
            Ok(issued)
        };
        let people: Vec<_> = (0..PEOPLE).map(|_| scope.spawn(person)).collect();
        eventually("logins are under way", || {
            Ok((done.load(Ordering::Relaxed) >= PEOPLE * LOGINS / 2).then_some(()))
        })?;
        story.authority.kill9()?;
        if storage == Storage::Sqlite {
            story.authority.restart()?;
        }
        let mut all = Vec::new();
        for person in people {
            all.extend(person.join().map_err(|_panic| anyhow::anyhow!("a login panicked"))??);
        }
        Ok(all)
    })?;
    assert_eq!(issued.len(), PEOPLE * LOGINS * 2);
    let serials: BTreeSet<u64> = issued.iter().map(|login| login.serial).collect();
    assert_eq!(serials.len(), issued.len(), "serial numbers are there once");
    for login in &issued {
        is_good_at_the_node(&story, login)?;
    }
    Ok(())
}

fn is_unreachable(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(AuthorityError::Unreachable { .. }))
}

fn is_good_at_the_node(story: &Story, login: &Issued) -> Result<()> {
    let file = format!("/root/issued/{}-cert.pub", login.serial);
    story.lab.node().write(&file, &login.certificate)?;
    let judged = story.agent.cli(&["check-cert", &file, "--login", "alice", "--from", "198.51.111.1"])?;
    ensure!(judged.status.success(), "{}: {}", login.serial, output(&judged));
    let elsewhere = story.agent.cli(&["check-cert", &file, "--login", "alice", "--from", "198.51.222.2"])?;
    ensure!(elsewhere.status.code() == Some(1), "{}: {}", login.serial, output(&elsewhere));
    Ok(())
}

/// The login waits for its signature, from an ssh-agent that is stopped, when the authority dies.
#[test]
fn one_that_is_killed_between_question_and_answer_has_issued_nothing_and_starts_again() -> Result<()> {
    let (mut story, keeper) = super::ca::story_with_an_ssh_agent("ed25519")?;
    let home = story.lab.alice();
    keeper.signal(Signal::STOP)?;
    let caller = Caller::of(&story.authority, "alice")?;
    let error = std::thread::scope(|scope| -> Result<anyhow::Error> {
        let asking = scope.spawn(|| caller.log_in(&home));
        eventually("the ssh-agent is asked", || Ok(keeper.is_asked()?.then_some(())))?;
        story.authority.kill9()?;
        let answer = asking.join().map_err(|_panic| anyhow::anyhow!("the login panicked"))?;
        answer.err().context("a login without a signature")
    })?;
    ensure!(is_unreachable(&error), "{error:#}");
    keeper.signal(Signal::CONT)?;
    story.authority.restart()?;
    let issued: Vec<_> = story
        .authority
        .events()?
        .into_iter()
        .filter(|event| event["event"] == "certificate_issued")
        .collect();
    ensure!(issued.is_empty(), "{issued:?}");
    let login = caller.log_in(&home)?;
    is_good_at_the_node(&story, &login)
}
