//! What goes wrong with the store.

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
    /// Without the password that a `postgres://` address may hold.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(out, "{}", path.display()),
            Self::Postgres(url) => match url.split_once("://").zip(url.rsplit_once('@')) {
                Some(((scheme, _), (_, server))) => write!(out, "{scheme}://{server}"),
                None => out.write_str(url),
            },
        }
    }
}
