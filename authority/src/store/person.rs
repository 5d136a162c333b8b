//! People who may log in.

use pinning::{Lock, LockTarget};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, StoreError, policy};

/// Somebody who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The key id of their certificates.
    pub name: String,
    /// argon2id in PHC form; `None`: no password lets them in.
    pub password: Option<String>,
    /// The second factor's shared secret, base32.
    pub totp: Option<String>,
    /// Role names.
    pub roles: Vec<String>,
    /// Their own logins, for roles that speak of them by a template.
    pub logins: Vec<String>,
    /// Kept out.
    pub locked: bool,
}

/// In seconds.
const A_DAY: u64 = 24 * 60 * 60;
const COLUMNS: &str = "name, password, totp, roles, logins, locked";

impl Store {
    /// Adds somebody.
    ///
    /// # Errors
    /// [`StoreError::Exists`].
    pub async fn add_person(&self, person: &Person, now: u64) -> Result<(), StoreError> {
        let insert = "INSERT INTO person (name, password, totp, roles, logins, locked, created_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING";
        let inserted = sqlx::query(insert)
            .bind(&person.name)
            .bind(&person.password)
            .bind(&person.totp)
            .bind(json(&person.roles))
            .bind(json(&person.logins))
            .bind(i64::from(person.locked))
            .bind(now.cast_signed())
            .execute(&self.pool)
            .await?;
        if inserted.rows_affected() == 0 { Err(StoreError::Exists(person.name.clone())) } else { Ok(()) }
    }

    /// Somebody by name.
    ///
    /// # Errors
    /// That the store does not answer, or the record cannot be read.
    pub async fn person(&self, name: &str) -> Result<Option<Person>, StoreError> {
        let select = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM person WHERE name = $1"));
        let row = sqlx::query(select).bind(name).fetch_optional(&self.pool).await?;
        row.as_ref().map(read).transpose()
    }

    /// Everybody, by name.
    ///
    /// # Errors
    /// As [`Store::person`].
    pub async fn people(&self) -> Result<Vec<Person>, StoreError> {
        let select = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM person ORDER BY name"));
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        rows.iter().map(read).collect()
    }

    /// Removes somebody; `None` if there is nobody of that name. Nodes are not to let them in any more: whoever has had a
    /// certificate gets a lock, which is given, for as long as one is good, and a day at least: there may be sessions that
    /// have outlived theirs.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn remove_person(
        &self,
        name: &str,
        cluster: &str,
        now: u64,
    ) -> Result<Option<Option<Lock>>, StoreError> {
        let mut change = self.change().await?;
        let delete = "DELETE FROM person WHERE name = $1 RETURNING certified_until";
        let certified: Option<i64> =
            sqlx::query_scalar(delete).bind(name).fetch_optional(&mut *change).await?;
        let lock = certified.map(i64::cast_unsigned).filter(|until| *until > 0).map(|until| Lock {
            id: policy::new_id(),
            target: LockTarget::User { cluster: cluster.to_owned(), key_id: name.to_owned() },
            until: Some(until.max(now.saturating_add(A_DAY))),
            reason: "user removed".to_owned(),
            created: now,
        });
        if let Some(lock) = &lock {
            policy::insert(&mut change, lock).await?;
        }
        let is_removed = self.done_if(change, certified.is_some()).await?;
        Ok(is_removed.then_some(lock))
    }

    /// Gives somebody another password; false if there is nobody of that name.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn set_password(&self, name: &str, hash: &str) -> Result<bool, StoreError> {
        let update = sqlx::query("UPDATE person SET password = $1 WHERE name = $2").bind(hash).bind(name);
        Ok(update.execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Gives somebody other roles and logins; false if there is nobody of that name.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn set_roles(
        &self,
        name: &str,
        roles: &[String],
        logins: &[String],
    ) -> Result<bool, StoreError> {
        let update = sqlx::query("UPDATE person SET roles = $1, logins = $2 WHERE name = $3")
            .bind(json(roles))
            .bind(json(logins))
            .bind(name);
        Ok(update.execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Gives somebody a second factor, another one, or none; false if there is nobody of that name.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn set_second_factor(&self, name: &str, secret: Option<&str>) -> Result<bool, StoreError> {
        let update = sqlx::query("UPDATE person SET totp = $1, totp_step = 0 WHERE name = $2");
        Ok(update.bind(secret).bind(name).execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Keeps somebody out, here and at the nodes, or lets them in again; false if there is nobody of that name.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn set_locked(&self, name: &str, locked: bool) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let update =
            sqlx::query("UPDATE person SET locked = $1 WHERE name = $2").bind(i64::from(locked)).bind(name);
        let updated = update.execute(&mut *change).await?.rows_affected() > 0;
        self.done_if(change, updated).await
    }

    /// Notes that the second factor's code of this step was used; false if that one, or a later one, was before. Of two
    /// who come with one code at once, one gets true, whichever authority they ask.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn use_step(&self, name: &str, step: u64) -> Result<bool, StoreError> {
        let update = "UPDATE person SET totp_step = $1 WHERE name = $2 AND totp_step < $1";
        let updated = sqlx::query(update).bind(step.cast_signed()).bind(name).execute(&self.pool).await?;
        Ok(updated.rows_affected() > 0)
    }
}

fn json(names: &[String]) -> String {
    serde_json::Value::from(names).to_string()
}

fn read(row: &AnyRow) -> Result<Person, StoreError> {
    let name: String = row.try_get("name")?;
    let names = |column| -> Result<Vec<String>, StoreError> {
        let text: String = row.try_get(column)?;
        serde_json::from_str(&text).map_err(|why| StoreError::Unreadable { name: name.clone(), why })
    };
    Ok(Person {
        password: row.try_get("password")?,
        totp: row.try_get("totp")?,
        roles: names("roles")?,
        logins: names("logins")?,
        locked: row.try_get::<i64, _>("locked")? != 0,
        name,
    })
}
