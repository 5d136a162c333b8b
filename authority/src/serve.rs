//! Takes connections, as many as there is room for and of one source no more than its share, and answers what comes by them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pinning::Address;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::serving::Serving;
use crate::source::source;
use crate::{complaint, connection, http};

/// Connections at once; the others wait in the kernel's queue.
const CONNECTIONS: usize = 2048;
/// Connections at once of one source that is no trusted proxy; further ones are closed.
const SHARE: usize = 256;
/// Longest that a TLS handshake takes.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest wait for the head of a request.
const REQUEST: Duration = Duration::from_secs(10);
/// Longest that a connection lives: nobody needs more than some requests.
const WHOLE: Duration = Duration::from_secs(120);
/// After a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest head of a request, in bytes.
const LONGEST_HEAD: usize = 32 * 1024;

/// A connection's place among those that are served at once.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Place {
    /// Gives it up to others: the connection waits, and is counted elsewhere. It remains part of its source's share.
    pub(crate) fn give_up(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The room that all listeners share.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    places: Arc<Semaphore>,
    sources: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Default for Room {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(CONNECTIONS)), sources: Arc::default() }
    }
}

/// One connection's part of its source's share.
#[derive(Debug)]
struct Part {
    source: IpAddr,
    sources: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Room {
    /// A part for one connection more of this source; `None`: it has its share.
    fn part(&self, source: IpAddr) -> Option<Part> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = sources.entry(source).or_default();
        if *taken == SHARE {
            return None;
        }
        *taken += 1;
        Some(Part { source, sources: Arc::clone(&self.sources) })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = sources.get_mut(&self.source) {
            *taken -= 1;
            if *taken == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

/// Serves a listener until the process ends, each connection with what is in force when it comes.
pub(crate) async fn serve(listener: TcpListener, serving: watch::Receiver<Serving>, room: Room) {
    loop {
        let Ok(place) = Arc::clone(&room.places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("no connection could be taken: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let serving = serving.borrow().clone();
        let address = Address::from(peer);
        let is_proxy = serving.authority.hops.trusts(address);
        let part = if is_proxy { None } else { room.part(source(address)) };
        if part.is_none() && !is_proxy {
            continue;
        }
        tokio::spawn(async move {
            let place = Place(Arc::new(Mutex::new(Some(place))));
            let served = timeout(WHOLE, one(stream, peer, serving, place)).await;
            if let Ok(Err(error)) = served {
                tracing::debug!("{peer}: {error}");
            }
            drop(part);
        });
    }
}

async fn one(stream: TcpStream, peer: SocketAddr, serving: Serving, place: Place) -> io::Result<()> {
    let Serving { authority, tls, proxied, .. } = serving;
    let received = connection::receive(stream, peer, &authority.hops, proxied).await;
    let (sender, stream) =
        received.inspect_err(|error| complaint::tell(peer, error)).map_err(io::Error::other)?;
    let stream = timeout(HANDSHAKE, tls.accept(stream)).await??;
    let routes: Router = http::routes(authority, sender, place);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST).max_buf_size(LONGEST_HEAD);
    http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .await
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_share_and_gets_back_what_it_gives_back() {
        let room = Room::default();
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut parts: Vec<_> = (0..SHARE).map(|_| room.part(one).unwrap()).collect();
        assert!(room.part(one).is_none());
        assert!(room.part(other).is_some());
        parts.pop();
        assert!(room.part(one).is_some());
        drop(parts);
        assert!(room.sources.lock().unwrap().is_empty());
    }
}
