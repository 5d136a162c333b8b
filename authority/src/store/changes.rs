//! How the authority that runs hears of changes that the command line, or another authority, has made: by PostgreSQL's
//! NOTIFY, or by a datagram on a socket beside the SQLite file; and by looking now and then, should either be lost.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::net::UnixDatagram;
use tokio::time::{sleep, timeout};

use super::Location;
use crate::files;

/// The channel of PostgreSQL's notifications.
pub(super) const CHANNEL: &str = "cotter_policy";
/// Between two looks at a SQLite file, if nothing is heard.
const LOOK: Duration = Duration::from_secs(1);
/// The same of a PostgreSQL, which says more reliably what happens.
const LOOK_AT_SERVER: Duration = Duration::from_secs(5);

/// Who makes changes tells of them.
#[derive(Debug, Clone)]
pub(super) struct Changes(Option<PathBuf>);

impl Changes {
    pub(super) fn of(location: &Location) -> Self {
        match location {
            Location::Sqlite(_) => Self(socket(location)),
            Location::Postgres(_) => Self(None),
        }
    }

    /// Tells the authority that runs. Whether there is one matters to nobody here: it looks by itself too.
    pub(super) fn tell(&self) {
        let Some(path) = &self.0 else { return };
        let told = net::UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to(&[], path)
        });
        if let Err(error) = told {
            tracing::debug!("{}: {error}", path.display());
        }
    }
}

/// `FILE.changed`, beside the file.
fn socket(location: &Location) -> Option<PathBuf> {
    match location {
        Location::Sqlite(file) => {
            let mut path = file.clone().into_os_string();
            path.push(".changed");
            Some(path.into())
        }
        Location::Postgres(_) => None,
    }
}

/// Why it is time to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Somebody has told of a change.
    Change,
    /// Nobody has, for a while; or nobody could.
    Nothing,
}

/// Hears of changes.
#[derive(Debug)]
pub struct Watch {
    location: Location,
    ear: Ear,
    /// Why there is no ear, as it was logged.
    said: String,
}

#[derive(Debug)]
enum Ear {
    None,
    Socket(UnixDatagram),
    Server(Box<PgListener>),
}

impl Watch {
    /// Of the store at this place.
    pub fn new(location: &Location) -> Self {
        Self { location: location.clone(), ear: Ear::None, said: String::new() }
    }

    /// Waits until something may have changed. Never fails: without an ear it is a wait.
    pub async fn changed(&mut self) -> Heard {
        let heard = match &mut self.ear {
            Ear::None => {
                // With a new ear it is time to look for what came before it.
                if !self.listen().await {
                    sleep(LOOK).await;
                }
                return Heard::Nothing;
            }
            Ear::Socket(socket) => {
                // The content says nothing; of several that wait, one is enough.
                let heard = timeout(LOOK, socket.recv(&mut [0])).await;
                while socket.try_recv(&mut [0]).is_ok() {}
                heard.map(|heard| heard.is_ok().then_some(Heard::Change))
            }
            // `None` is a new connection, before which something may have been missed.
            Ear::Server(listener) => timeout(LOOK_AT_SERVER, listener.try_recv())
                .await
                .map(|heard| Some(heard.ok()?.map_or(Heard::Nothing, |_told| Heard::Change))),
        };
        match heard {
            Ok(Some(heard)) => heard,
            Ok(None) => {
                self.ear = Ear::None;
                Heard::Nothing
            }
            Err(_elapsed) => Heard::Nothing,
        }
    }

    /// Gets an ear, or says why there is none: once, for it is tried over and over.
    async fn listen(&mut self) -> bool {
        match ear(&self.location).await {
            Ok(ear) => {
                self.ear = ear;
                self.said.clear();
            }
            Err(error) if error != self.said => {
                tracing::warn!("{}: changes are not told but looked for: {error}", self.location);
                self.said = error;
            }
            Err(_said) => {}
        }
        !matches!(self.ear, Ear::None)
    }
}

async fn ear(location: &Location) -> Result<Ear, String> {
    match location {
        Location::Sqlite(_) => match socket(location) {
            Some(path) => bind(path).map(Ear::Socket).map_err(|error| error.to_string()),
            None => Ok(Ear::None),
        },
        Location::Postgres(url) => {
            let listener = async {
                let mut listener = PgListener::connect(url).await?;
                listener.listen(CHANNEL).await?;
                Ok(Ear::Server(Box::new(listener)))
            };
            listener.await.map_err(|error: sqlx::Error| error.to_string())
        }
    }
}

fn bind(path: PathBuf) -> io::Result<UnixDatagram> {
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = UnixDatagram::bind(&path)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
    files::hand_over_socket(&path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_told_is_heard_at_once_and_also_by_who_comes_after_another() {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(directory.path().join("authority.db"));
        let changes = Changes::of(&location);
        changes.tell();
        for _ in 0..2 {
            let mut watch = Watch::new(&location);
            assert_eq!(watch.changed().await, Heard::Nothing, "what was before is looked for");
            changes.tell();
            changes.tell();
            assert_eq!(watch.changed().await, Heard::Change);
            assert!(timeout(LOOK / 4, watch.changed()).await.is_err(), "both were heard as one");
        }
    }
}
