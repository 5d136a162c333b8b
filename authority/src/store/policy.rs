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
/// How long a lock is kept that has run out, in seconds: a clock that is ahead is set right within a day.
const FORGOTTEN: u64 = 24 * 3600;

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

    /// All that nodes follow, of the people of this cluster. Locks that have run out are among it, until they are forgotten:
    /// nodes look at their own clocks, and one version is to be the same whatever the clock of who hands it out says.
    ///
    /// # Errors
    /// That the store does not answer, or holds what cannot be read.
    pub async fn policy(&self, cluster: &str) -> Result<Policy, StoreError> {
        let mut transaction = self.pool.begin().await?;
        if self.is_postgres {
            let one_moment = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
            sqlx::query(one_moment).execute(&mut *transaction).await?;
        }
        let select = "SELECT value FROM counter WHERE name = 'policy'";
        let version: i64 = sqlx::query_scalar(select).fetch_one(&mut *transaction).await?;
        let select = "SELECT text FROM policy_rules WHERE name = 'files'";
        let rules: String = sqlx::query_scalar(select).fetch_one(&mut *transaction).await?;
        let locks = locks(&mut transaction, cluster).await?;
        transaction.commit().await?;
        Ok(Policy { version: version.unsigned_abs(), rules, locks })
    }

    /// Locks in force, and one of each person of this cluster that is locked.
    ///
    /// # Errors
    /// As [`Store::policy`].
    pub async fn locks(&self, cluster: &str, now: u64) -> Result<Vec<Lock>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let mut locks = locks(&mut transaction, cluster).await?;
        transaction.commit().await?;
        locks.retain(|lock| lock.in_force(now));
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

    /// Locks; locks that ran out a day ago are forgotten.
    ///
    /// # Errors
    /// [`StoreError::TooManyLocks`], or that the store does not answer.
    pub async fn lock(&self, lock: &Lock) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        sqlx::query("DELETE FROM policy_lock WHERE until <= $1")
            .bind(lock.created.saturating_sub(FORGOTTEN).cast_signed())
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

async fn locks(transaction: &mut Transaction<'static, Any>, cluster: &str) -> Result<Vec<Lock>, StoreError> {
    let select = "SELECT id, target, reason, until, created FROM policy_lock ORDER BY created, id";
    let rows = sqlx::query(select).fetch_all(&mut **transaction).await?;
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
