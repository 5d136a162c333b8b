//! The store itself, asked without an authority.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use cotter_authority::store::{Heard, Location, Person, Store, Watch, person_of};
use lab::{Lab, Postgres, Storage};
use pinning::{Lock, LockTarget};

/// Runs a test on a new store, on what the tests are run on.
fn on_a_new_store(test: impl AsyncFnOnce(&Store, &Location) -> Result<()> + Send) -> Result<()> {
    let run = |location: &Location| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async { test(&Store::open(location).await?, location).await })
    };
    match Storage::chosen()? {
        Storage::Sqlite => {
            let directory = tempfile::tempdir()?;
            run(&Location::Sqlite(directory.path().join("authority.db")))
        }
        Storage::Postgres => {
            let lab = Lab::start()?;
            let _postgres = Postgres::start(&lab)?;
            lab.node().enter(|| run(&Location::Postgres(Postgres::url())))?
        }
    }
}

fn lock(id: &str, until: Option<u64>, created: u64) -> Result<Lock> {
    let target = LockTarget::user("example.com/alice").context("no target")?;
    Ok(Lock { id: id.into(), target, until, reason: "lost laptop".into(), created })
}

fn person(name: &str) -> Person {
    let (roles, logins) = (vec!["open".to_owned()], vec![name.to_owned()]);
    Person { name: name.into(), password: None, totp: None, roles, logins, locked: false }
}

#[test]
fn people_are_kept_as_they_were_given_and_their_names_are_told_apart_by_every_letter() -> Result<()> {
    on_a_new_store(async |store, _location| {
        let alice =
            Person { password: Some("$argon2id$".into()), totp: Some("ABC".into()), ..person("alice") };
        store.add_person(&alice, 1).await?;
        ensure!(store.add_person(&person("alice"), 1).await.is_err(), "there is one of that name");
        assert_eq!(store.person("alice").await?.as_ref(), Some(&alice));
        assert_eq!(store.person("Alice").await?, None);
        store.add_person(&person("Alice"), 1).await?;
        let names: Vec<_> = store.people().await?.into_iter().map(|person| person.name).collect();
        assert_eq!(names, ["Alice", "alice"]);
        Ok(())
    })
}

#[test]
fn a_code_and_a_serial_number_count_once_however_many_ask_at_once() -> Result<()> {
    on_a_new_store(async |store, _location| {
        store.add_person(&person("alice"), 1).await?;
        let asking: Vec<_> = (0..40)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(
                    async move { (store.certify("alice", 1).await, store.use_step("alice", 7).await) },
                )
            })
            .collect();
        let (mut serials, mut used) = (Vec::new(), 0);
        for answer in asking {
            let (serial, step) = answer.await?;
            serials.extend(serial?);
            used += u32::from(step?);
        }
        serials.sort_unstable();
        assert_eq!(serials, (1..=40).collect::<Vec<u64>>());
        assert_eq!(used, 1);
        Ok(())
    })
}

#[test]
fn a_secret_stays_and_a_statement_is_used_once() -> Result<()> {
    on_a_new_store(async |store, location| {
        let secret = store.secret("statement").await?;
        assert_eq!(secret.len(), 64);
        let again = Store::open(location).await?;
        assert_eq!(again.secret("statement").await?, secret);
        ensure!(again.secret("another").await? != secret, "each name has its own");
        ensure!(store.use_statement("one", 100, 40).await?, "it is new");
        ensure!(!again.use_statement("one", 100, 100).await?, "it was used");
        ensure!(store.use_statement("two", 200, 101).await?, "it is new");
        ensure!(!store.use_statement("two", 200, 101).await?, "it was used");
        Ok(())
    })
}

#[test]
fn each_change_of_the_policy_raises_its_version_and_what_changes_nothing_does_not() -> Result<()> {
    on_a_new_store(async |store, _location| {
        let today = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        ensure!(store.publish("{}").await?, "there was nothing before");
        let published = store.policy_version().await?;
        ensure!(published >= today, "more than any copy of an earlier day knows: {published}");
        ensure!(!store.publish("{}").await?, "it is the same");
        assert_eq!(store.policy_version().await?, published);
        store.lock(&lock("a", None, 1)?).await?;
        let locked = store.policy_version().await?;
        ensure!(locked > published, "{locked}");
        ensure!(!store.unlock("b").await?, "there is none");
        ensure!(!store.set_locked("nobody", true).await?, "there is nobody");
        ensure!(store.remove_person("nobody", "c", 1).await?.is_none(), "there is nobody");
        assert_eq!(store.policy_version().await?, locked);
        ensure!(store.unlock("a").await?, "it was there");
        let policy = store.policy("example.com").await?;
        ensure!(policy.version > locked, "{policy:?}");
        assert_eq!((policy.rules.as_str(), policy.locks.len()), ("{}", 0));
        Ok(())
    })
}

#[test]
fn changes_that_come_at_once_have_a_version_each() -> Result<()> {
    on_a_new_store(async |store, location| {
        let other = Store::open(location).await?;
        let before = store.policy_version().await?;
        let locking: Vec<_> = (0..20u64)
            .map(|number| {
                let store = if number % 2 == 0 { store.clone() } else { other.clone() };
                tokio::spawn(async move {
                    store.lock(&lock(&format!("{number}"), None, number)?).await.map_err(anyhow::Error::from)
                })
            })
            .collect();
        for done in locking {
            done.await??;
        }
        ensure!(other.policy_version().await? >= before + 20, "each has raised it");
        assert_eq!(other.locks("c", 1).await?.len(), 20);
        Ok(())
    })
}

#[test]
fn locks_read_back_until_they_run_out() -> Result<()> {
    on_a_new_store(async |store, _location| {
        store.lock(&lock("a", Some(10), 1)?).await?;
        store.lock(&lock("b", None, 2)?).await?;
        assert_eq!(store.locks("c", 9).await?, [lock("a", Some(10), 1)?, lock("b", None, 2)?]);
        assert_eq!(store.locks("c", 10).await?, [lock("b", None, 2)?]);
        Ok(())
    })
}

#[test]
fn who_is_locked_or_removed_is_locked_at_the_nodes_too() -> Result<()> {
    on_a_new_store(async |store, _location| {
        store.add_person(&person("alice"), 1).await?;
        ensure!(store.set_locked("alice", true).await?, "she is there");
        let locks = store.locks("c", 1).await?;
        let [lock] = &locks[..] else { anyhow::bail!("not one lock: {locks:?}") };
        assert_eq!((lock.target.to_string(), person_of(&lock.id)), ("user c/alice".into(), Some("alice")));
        assert_eq!(store.certify("alice", 100).await?, None, "and gets no certificate");
        ensure!(store.set_locked("alice", false).await?, "she is there");
        assert_eq!(store.certify("alice", 100).await?, Some(1));
        assert_eq!(store.certify("alice", 50).await?, Some(2));
        let until = async |name: &str| -> Result<Option<Option<u64>>> {
            Ok(store.remove_person(name, "c", 60).await?.map(|lock| lock.and_then(|lock| lock.until)))
        };
        assert_eq!(until("alice").await?, Some(Some(60 + 86_400)), "a day at least");
        store.add_person(&person("bob"), 1).await?;
        assert_eq!(store.certify("bob", 1_000_000).await?, Some(3));
        assert_eq!(until("bob").await?, Some(Some(1_000_000)), "until the last certificate ends");
        store.add_person(&person("carol"), 1).await?;
        assert_eq!(until("carol").await?, Some(None), "who never had one");
        assert_eq!(store.locks("c", 99).await?.len(), 2);
        assert_eq!(store.certify("alice", 200).await?, None);
        Ok(())
    })
}

#[test]
fn a_change_is_told_to_who_watches_and_what_is_none_is_not() -> Result<()> {
    on_a_new_store(async |store, location| {
        let mut watch = Watch::new(location);
        assert_eq!(watch.changed().await, Heard::Nothing, "what was before is looked for");
        ensure!(!store.unlock("none").await?, "there is none");
        assert_eq!(watch.changed().await, Heard::Nothing);
        let other = Store::open(location).await?;
        other.lock(&lock("a", None, 1)?).await?;
        assert_eq!(watch.changed().await, Heard::Change);
        Ok(())
    })
}
