//! What goes wrong with the store.

use std::path::PathBuf;

use super::Location;

/// The store is not there, or does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("{place}: cannot be opened: {source}")]
    Unavailable {
        /// The file, or the server without its password.
        place: String,
        /// Why.
        source: sqlx::Error,
    },
    /// There is somebody of that name.
    #[error("there is a user {0:?} already")]
    Exists(String),
    /// A record holds what nobody has written.
    #[error("the record of user {name:?} cannot be read: {why}")]
    Unreadable {
        /// Whose.
        name: String,
        /// Why.
        why: serde_json::Error,
    },
    /// The same of a lock.
    #[error("the record of lock {id} cannot be read: {why}")]
    UnreadableLock {
        /// Which.
        id: String,
        /// Why.
        why: serde_json::Error,
    },
    /// There are as many locks as nodes take.
    #[error("there are {} locks already; take some away first", cotter_api::MOST_LOCKS)]
    TooManyLocks,
    /// A copy cannot be made.
    #[error("{file}: the backup cannot be written: {source}")]
    Backup {
        /// Where to.
        file: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// It is no file.
    #[error("the storage is a PostgreSQL: back it up with pg_dump")]
    NoFile,
    /// It does not answer, or answers with an error.
    #[error("storage: {0}")]
    Failed(#[from] sqlx::Error),
}

impl StoreError {
    pub(super) fn unavailable(location: &Location, source: sqlx::Error) -> Self {
        Self::Unavailable { place: location.to_string(), source }
    }
}

impl std::fmt::Display for Location {
    /// Without the password that a `postgres://` address may hold, and without parameters but the socket's directory.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(out, "{}", path.display()),
            Self::Postgres(url) => {
                let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
                let server = server.split_once("://").map_or(server, |(_scheme, server)| server);
                let server = server.rsplit_once('@').map_or(server, |(_password, server)| server);
                write!(out, "postgres://{server}")?;
                match parameters.split('&').find(|parameter| parameter.starts_with("host=")) {
                    Some(host) => write!(out, "?{host}"),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_told_nobody() {
        for (url, told) in [
            ("postgres://cotter:secret@db.example.com:5432/cotter", "postgres://db.example.com:5432/cotter"),
            (
                "postgresql:///cotter?password=secret&host=/run/postgresql",
                "postgres:///cotter?host=/run/postgresql",
            ),
            ("postgres://db/cotter?user=a&password=s@x", "postgres://db/cotter"),
        ] {
            assert_eq!(Location::Postgres(url.into()).to_string(), told);
        }
    }
}
