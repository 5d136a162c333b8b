//! What outlives the authority: people, locks, counters. In one SQLite file, or in a PostgreSQL that several authorities
//! share; the same statements for both.

mod backup;
mod changes;
mod error;
mod person;
mod policy;
mod statement;

pub use changes::{Heard, Watch};
pub use error::StoreError;
pub use person::Person;
pub use policy::{Policy, new_id, person_of};

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::AnyPool;
use sqlx::any::{AnyPoolOptions, install_default_drivers};

use crate::files;
use changes::Changes;

/// Longest wait for a free connection: longer than a burst of logins, shorter than people's patience.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections to PostgreSQL at once; SQLite has one writer anyway.
const CONNECTIONS: u32 = 8;

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file, made if it is missing.
    Sqlite(PathBuf),
    /// A `postgres://` address.
    Postgres(String),
}

/// An open store.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    is_postgres: bool,
    changes: Changes,
    location: Location,
}

impl Store {
    /// Opens what is there, or makes it, and brings its tables up to date.
    ///
    /// # Errors
    /// That it cannot be had, naming it.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        install_default_drivers();
        let error = |source| StoreError::unavailable(location, source);
        if let Location::Sqlite(path) = location {
            own_file(path).map_err(|why| error(sqlx::Error::Io(why)))?;
        }
        let pool = options(location).connect(&location.url()).await.map_err(error)?;
        sqlx::migrate!().run(&pool).await.map_err(|source| error(source.into()))?;
        let is_postgres = matches!(location, Location::Postgres(_));
        Ok(Self { pool, is_postgres, changes: Changes::of(location), location: location.clone() })
    }

    /// Where it is, as people are told: the file, or the server without its password.
    pub fn place(&self) -> String {
        self.location.to_string()
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// That it does not.
    pub async fn answers(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT value FROM counter WHERE name = 'serial'").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// A serial number that no certificate has had, for one of somebody's that ends then; `None` if they have been removed
    /// or locked meanwhile.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn certify(&self, name: &str, ends_at: u64) -> Result<Option<u64>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let note = "UPDATE person SET certified_until = CASE WHEN certified_until < $1 THEN $1 \
                    ELSE certified_until END WHERE name = $2 AND locked = 0";
        let noted =
            sqlx::query(note).bind(ends_at.cast_signed()).bind(name).execute(&mut *transaction).await?;
        if noted.rows_affected() == 0 {
            return Ok(None);
        }
        let next = "UPDATE counter SET value = value + 1 WHERE name = 'serial' RETURNING value";
        // What comes before the commit may yet come to nothing, on a full disk.
        let serial: i64 = sqlx::query_scalar(next).fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Some(serial.unsigned_abs()))
    }
}

/// The file, which holds secrets, made if it is missing; SQLite gives those beside it the same mode and owner.
fn own_file(path: &Path) -> io::Result<()> {
    match files::make_empty(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other,
    }
    if fs::metadata(path)?.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may read it (chmod 600)"));
    }
    Ok(())
}

fn options(location: &Location) -> AnyPoolOptions {
    let options = AnyPoolOptions::new().acquire_timeout(PATIENCE);
    match location {
        Location::Sqlite(_) => options.max_connections(1).after_connect(|connection, _| {
            Box::pin(async move {
                // What was acknowledged outlives a power cut; a reader does not wait for the writer.
                for pragma in
                    ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA busy_timeout = 5000"]
                {
                    sqlx::query(pragma).execute(&mut *connection).await?;
                }
                Ok(())
            })
        }),
        Location::Postgres(_) => options.max_connections(CONNECTIONS),
    }
}

impl Location {
    fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{}?mode=rwc", path.display()),
            Self::Postgres(url) => url.clone(),
        }
    }
}
