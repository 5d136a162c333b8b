//! A copy of the storage, whole at one moment, while authorities go on.

use std::fs::File;
use std::path::Path;

use super::{Location, Store, StoreError};
use crate::files;

impl Store {
    /// Writes a copy to a file that is not there yet, for its owner alone.
    ///
    /// # Errors
    /// That there is a file, that it cannot be written, that what is there cannot be read in full; and that PostgreSQL has
    /// means of its own.
    pub async fn back_up(&self, file: &Path) -> Result<(), StoreError> {
        let Location::Sqlite(_) = self.location else { return Err(StoreError::NoFile) };
        let error = |source| StoreError::Backup { file: file.into(), source };
        files::make_empty(file).map_err(|why| error(sqlx::Error::Io(why)))?;
        let name = file.display().to_string();
        let copied = sqlx::query("VACUUM INTO $1").bind(name).execute(&self.pool).await;
        let copied = copied.and_then(|_rows| Ok(File::open(file)?.sync_all()?));
        if copied.is_err() {
            // Half a copy is none; that it stays if it cannot be removed changes nothing about the error.
            let _stays = std::fs::remove_file(file);
        }
        copied.map_err(error)
    }
}
