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

/// Hears of changes.
#[derive(Debug)]
pub struct Watch {
    location: Location,
    ear: Ear,
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
        Self { location: location.clone(), ear: Ear::None }
    }

    /// Waits until something may have changed. Never fails: without an ear it is a wait.
    pub async fn changed(&mut self) {
        if matches!(self.ear, Ear::None) {
            self.ear = listen(&self.location).await;
        }
        let is_deaf = match &mut self.ear {
            Ear::None => {
                sleep(LOOK).await;
                false
            }
            Ear::Socket(socket) => {
                // The content says nothing; of several that wait, one is enough.
                let heard = timeout(LOOK, socket.recv(&mut [0])).await;
                while socket.try_recv(&mut [0]).is_ok() {}
                matches!(heard, Ok(Err(_)))
            }
            // `None` is a new connection, before which something may have been missed.
            Ear::Server(listener) => {
                matches!(timeout(LOOK_AT_SERVER, listener.try_recv()).await, Ok(Err(_)))
            }
        };
        if is_deaf {
            self.ear = Ear::None;
        }
    }
}

async fn listen(location: &Location) -> Ear {
    match location {
        Location::Sqlite(_) => match socket(location).map(bind) {
            Some(Ok(socket)) => return Ear::Socket(socket),
            Some(Err(error)) => tracing::warn!("{location}.changed: {error}; changes are looked for instead"),
            None => {}
        },
        Location::Postgres(url) => {
            let listener = async {
                let mut listener = PgListener::connect(url).await?;
                listener.listen(CHANNEL).await?;
                Ok::<_, sqlx::Error>(listener)
            };
            match listener.await {
                Ok(listener) => return Ear::Server(Box::new(listener)),
                Err(error) => tracing::warn!("{location}: no notifications: {error}"),
            }
        }
    }
    Ear::None
}

fn bind(path: PathBuf) -> io::Result<UnixDatagram> {
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = UnixDatagram::bind(&path)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
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
            watch.ear = listen(&location).await;
            changes.tell();
            changes.tell();
            timeout(LOOK / 2, watch.changed()).await.unwrap();
            assert!(timeout(LOOK / 4, watch.changed()).await.is_err(), "both were heard as one");
        }
    }
}
