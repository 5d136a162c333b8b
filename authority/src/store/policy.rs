//! What nodes follow: locks, the rules of the files, and the version that each change raises.

use pinning::{Lock, LockTarget};
use sqlx::Row;
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};
use ssh_key::rand_core::{OsRng, RngCore};

use super::changes::CHANNEL;
use super::{Store, StoreError};
use crate::clock;

/// What there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Of the last change.
    pub version: u64,
    /// JSON of [`cotter_api::Rules`].
    pub rules: String,
    /// Locks in force, and one of each person that is locked.
    pub locks: Vec<Lock>,
}

/// How the lock of a person that is locked is called.
const OF_A_PERSON: &str = "user:";

impl Store {
    /// The version of the last change.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn policy_version(&self) -> Result<u64, StoreError> {
        let select = "SELECT value FROM counter WHERE name = 'policy'";
        let version: i64 = sqlx::query_scalar(select).fetch_one(&self.pool).await?;
        Ok(version.unsigned_abs())
    }

    /// All that nodes follow, of the people of this cluster.
    ///
    /// # Errors
    /// That the store does not answer, or holds what cannot be read.
    pub async fn policy(&self, cluster: &str, now: u64) -> Result<Policy, StoreError> {
        let mut transaction = self.pool.begin().await?;
        if self.is_postgres {
            let one_moment = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
            sqlx::query(one_moment).execute(&mut *transaction).await?;
        }
        let select = "SELECT value FROM counter WHERE name = 'policy'";
        let version: i64 = sqlx::query_scalar(select).fetch_one(&mut *transaction).await?;
        let select = "SELECT text FROM policy_rules WHERE name = 'files'";
        let rules: String = sqlx::query_scalar(select).fetch_one(&mut *transaction).await?;
        let locks = locks(&mut transaction, cluster, now).await?;
        transaction.commit().await?;
        Ok(Policy { version: version.unsigned_abs(), rules, locks })
    }

    /// Locks in force, and one of each person of this cluster that is locked.
    ///
    /// # Errors
    /// As [`Store::policy`].
    pub async fn locks(&self, cluster: &str, now: u64) -> Result<Vec<Lock>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let locks = locks(&mut transaction, cluster, now).await?;
        transaction.commit().await?;
        Ok(locks)
    }

    /// The rules that were published last, if any were.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn rules(&self) -> Result<Option<String>, StoreError> {
        let select = "SELECT text FROM policy_rules WHERE name = 'files'";
        Ok(sqlx::query_scalar(select).fetch_optional(&self.pool).await?)
    }

    /// Publishes the rules of the files; false if they are those that were published last.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn publish(&self, rules: &str) -> Result<bool, StoreError> {
        if self.rules().await?.as_deref() == Some(rules) {
            return Ok(false);
        }
        let mut change = self.change().await?;
        let upsert = "INSERT INTO policy_rules (name, text) VALUES ('files', $1) \
                      ON CONFLICT (name) DO UPDATE SET text = excluded.text";
        sqlx::query(upsert).bind(rules).execute(&mut *change).await?;
        self.done(change).await?;
        Ok(true)
    }

    /// Locks; locks that have run out are forgotten.
    ///
    /// # Errors
    /// [`StoreError::TooManyLocks`], or that the store does not answer.
    pub async fn lock(&self, lock: &Lock) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        sqlx::query("DELETE FROM policy_lock WHERE until <= $1")
            .bind(lock.created.cast_signed())
            .execute(&mut *change)
            .await?;
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM policy_lock").fetch_one(&mut *change).await?;
        if count.unsigned_abs() >= cotter_api::MOST_LOCKS as u64 {
            return Err(StoreError::TooManyLocks);
        }
        insert(&mut change, lock).await?;
        self.done(change).await
    }

    /// Takes a lock away; false if there is none of that id.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn unlock(&self, id: &str) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let removed =
            sqlx::query("DELETE FROM policy_lock WHERE id = $1").bind(id).execute(&mut *change).await?;
        self.done_if(change, removed.rows_affected() > 0).await
    }

    /// Begins a change of what nodes follow. The version is raised first: changes come one after the other, in the order
    /// of their versions. It is the time of day, Unix milliseconds, if that is more: so it passes what nodes know also after
    /// the storage was put back to an earlier day.
    pub(super) async fn change(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let mut change = self.pool.begin().await?;
        let raise = "UPDATE counter SET value = CASE WHEN value < $1 THEN $1 ELSE value + 1 END WHERE name = 'policy'";
        sqlx::query(raise).bind(clock::unix_millis().cast_signed()).execute(&mut *change).await?;
        if self.is_postgres {
            // It is sent with the commit, and only then.
            sqlx::query(sqlx::AssertSqlSafe(format!("NOTIFY {CHANNEL}"))).execute(&mut *change).await?;
        }
        Ok(change)
    }

    /// Ends a change, and tells the authority that runs.
    pub(super) async fn done(&self, change: Transaction<'static, Any>) -> Result<(), StoreError> {
        change.commit().await?;
        self.changes.tell();
        Ok(())
    }

    /// The same if there was something to change; else nothing has been.
    pub(super) async fn done_if(
        &self,
        change: Transaction<'static, Any>,
        is_changed: bool,
    ) -> Result<bool, StoreError> {
        if is_changed {
            self.done(change).await?;
        } else {
            change.rollback().await?;
        }
        Ok(is_changed)
    }
}

/// Inserts a lock within a change.
pub(super) async fn insert(change: &mut Transaction<'static, Any>, lock: &Lock) -> Result<(), StoreError> {
    let target = serde_json::to_string(&lock.target).map_err(|why| unreadable(&lock.id, why))?;
    let insert = "INSERT INTO policy_lock (id, target, reason, until, created) VALUES ($1, $2, $3, $4, $5)";
    sqlx::query(insert)
        .bind(&lock.id)
        .bind(target)
        .bind(&lock.reason)
        .bind(lock.until.map(u64::cast_signed))
        .bind(lock.created.cast_signed())
        .execute(&mut **change)
        .await?;
    Ok(())
}

async fn locks(
    transaction: &mut Transaction<'static, Any>,
    cluster: &str,
    now: u64,
) -> Result<Vec<Lock>, StoreError> {
    let select = "SELECT id, target, reason, until, created FROM policy_lock \
                  WHERE until IS NULL OR until > $1 ORDER BY created, id";
    let rows = sqlx::query(select).bind(now.cast_signed()).fetch_all(&mut **transaction).await?;
    let mut locks: Vec<Lock> = rows.iter().map(read).collect::<Result<_, _>>()?;
    let select = "SELECT name FROM person WHERE locked <> 0 ORDER BY name";
    let names: Vec<String> = sqlx::query_scalar(select).fetch_all(&mut **transaction).await?;
    locks.extend(names.into_iter().map(|name| of_person(cluster, name)));
    Ok(locks)
}

fn of_person(cluster: &str, name: String) -> Lock {
    Lock {
        id: format!("{OF_A_PERSON}{name}"),
        target: LockTarget::User { cluster: cluster.to_owned(), key_id: name },
        until: None,
        reason: String::new(),
        created: 0,
    }
}

/// The id of a new lock: short, random, never used again.
pub fn new_id() -> String {
    format!("{:016x}", OsRng.next_u64())
}

/// The person whose lock is called so, if it is one of those.
pub fn person_of(id: &str) -> Option<&str> {
    id.strip_prefix(OF_A_PERSON)
}

fn read(row: &AnyRow) -> Result<Lock, StoreError> {
    let id: String = row.try_get("id")?;
    let target: String = row.try_get("target")?;
    Ok(Lock {
        target: serde_json::from_str(&target).map_err(|why| unreadable(&id, why))?,
        reason: row.try_get("reason")?,
        until: row.try_get::<Option<i64>, _>("until")?.map(i64::cast_unsigned),
        created: row.try_get::<i64, _>("created")?.cast_unsigned(),
        id,
    })
}

fn unreadable(id: &str, why: serde_json::Error) -> StoreError {
    StoreError::UnreadableLock { id: id.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Location, Person};

    async fn store(directory: &tempfile::TempDir) -> Store {
        Store::open(&Location::Sqlite(directory.path().join("authority.db"))).await.unwrap()
    }

    fn lock(id: &str, until: Option<u64>, created: u64) -> Lock {
        let target = LockTarget::user("example.com/alice").unwrap();
        Lock { id: id.into(), target, until, reason: "lost laptop".into(), created }
    }

    fn person(name: &str) -> Person {
        let (roles, logins) = (vec!["open".to_owned()], vec![name.to_owned()]);
        Person { name: name.into(), password: None, totp: None, roles, logins, locked: false }
    }

    #[tokio::test]
    async fn each_change_raises_the_version_and_what_changes_nothing_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory).await;
        let today = clock::unix_millis();
        assert!(store.publish("{}").await.unwrap());
        let published = store.policy_version().await.unwrap();
        assert!(published >= today, "more than any copy of an earlier day knows");
        assert!(!store.publish("{}").await.unwrap());
        assert_eq!(store.policy_version().await.unwrap(), published);
        store.lock(&lock("a", None, 1)).await.unwrap();
        let locked = store.policy_version().await.unwrap();
        assert!(locked > published);
        assert!(!store.unlock("b").await.unwrap());
        assert!(!store.set_locked("nobody", true).await.unwrap());
        assert!(store.remove_person("nobody", "c", 1).await.unwrap().is_none());
        assert_eq!(store.policy_version().await.unwrap(), locked);
        assert!(store.unlock("a").await.unwrap());
        let policy = store.policy("example.com", 1).await.unwrap();
        assert!(policy.version > locked);
        assert_eq!((policy.rules.as_str(), policy.locks.len()), ("{}", 0));
    }

    #[tokio::test]
    async fn locks_read_back_until_they_run_out() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory).await;
        store.lock(&lock("a", Some(10), 1)).await.unwrap();
        store.lock(&lock("b", None, 2)).await.unwrap();
        assert_eq!(store.locks("c", 9).await.unwrap(), [lock("a", Some(10), 1), lock("b", None, 2)]);
        assert_eq!(store.locks("c", 10).await.unwrap(), [lock("b", None, 2)]);
    }

    #[tokio::test]
    async fn who_is_locked_or_removed_is_locked_at_the_nodes_too() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory).await;
        store.add_person(&person("alice"), 1).await.unwrap();
        assert!(store.set_locked("alice", true).await.unwrap());
        let [lock] = &store.locks("c", 1).await.unwrap()[..] else { panic!("one lock") };
        assert_eq!((lock.target.to_string(), person_of(&lock.id)), ("user c/alice".into(), Some("alice")));
        assert!(store.certify("alice", 100).await.unwrap().is_none(), "and gets no certificate");
        assert!(store.set_locked("alice", false).await.unwrap());
        assert!(store.certify("alice", 100).await.unwrap().is_some());
        assert!(store.certify("alice", 50).await.unwrap().is_some());
        let removed = store.remove_person("alice", "c", 60).await.unwrap().unwrap();
        assert_eq!(removed.unwrap().until, Some(60 + 86_400), "a day at least");
        store.add_person(&person("bob"), 1).await.unwrap();
        assert!(store.certify("bob", 1_000_000).await.unwrap().is_some());
        let removed = store.remove_person("bob", "c", 60).await.unwrap().unwrap();
        assert_eq!(removed.unwrap().until, Some(1_000_000), "until the last certificate ends");
        store.add_person(&person("carol"), 1).await.unwrap();
        assert_eq!(store.remove_person("carol", "c", 60).await.unwrap(), Some(None), "who never had one");
        assert_eq!(store.locks("c", 99).await.unwrap().len(), 2);
        assert!(store.certify("alice", 200).await.unwrap().is_none());
    }
}
