//! The secret that statements are signed with, and which of them have been used.

use super::{Store, StoreError};

impl Store {
    /// The secret of this name, 256 bits as text: the same for all who share the storage.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn secret(&self, name: &str) -> Result<String, StoreError> {
        let mut fresh = [0; 32];
        ssh_key::rand_core::RngCore::fill_bytes(&mut ssh_key::rand_core::OsRng, &mut fresh);
        let fresh: String = fresh.iter().map(|byte| format!("{byte:02x}")).collect();
        let insert = "INSERT INTO secret (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        sqlx::query(insert).bind(name).bind(fresh).execute(&self.pool).await?;
        let select = "SELECT value FROM secret WHERE name = $1";
        Ok(sqlx::query_scalar(select).bind(name).fetch_one(&self.pool).await?)
    }

    /// Notes that a statement was used, and forgets those that count no more at `now`; false if it was used before. Of two
    /// who come with one statement at once, one gets true, whichever authority they ask. Times are Unix seconds.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn use_statement(&self, id: &str, ends_at: u64, now: u64) -> Result<bool, StoreError> {
        let delete = "DELETE FROM used_statement WHERE ends_at < $1";
        sqlx::query(delete).bind(now.cast_signed()).execute(&self.pool).await?;
        let insert = "INSERT INTO used_statement (id, ends_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
        let inserted = sqlx::query(insert).bind(id).bind(ends_at.cast_signed()).execute(&self.pool).await?;
        Ok(inserted.rows_affected() > 0)
    }
}
