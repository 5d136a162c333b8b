//! What outlives the authority: people, locks, counters. In one SQLite file, or in a PostgreSQL that several authorities
//! share; the same statements for both.

mod backup;
mod error;
mod person;

pub use error::StoreError;
pub use person::Person;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::AnyPool;
use sqlx::any::{AnyPoolOptions, install_default_drivers};

use crate::files;

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
        Ok(Self { pool, location: location.clone() })
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

    /// A serial number that no certificate has had.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn next_serial(&self) -> Result<u64, StoreError> {
        let next = "UPDATE counter SET value = value + 1 WHERE name = 'serial' RETURNING value";
        // `fetch_one` would be content with the row, which comes before it is known whether the disk has taken it.
        let serials: Vec<i64> = sqlx::query_scalar(next).fetch_all(&self.pool).await?;
        serials
            .first()
            .map(|serial| serial.unsigned_abs())
            .ok_or(StoreError::Failed(sqlx::Error::RowNotFound))
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
