//! Takes connections, as many as there is room for and of one source no more than its share, and answers what comes by them.

use std::io;
use std::net::SocketAddr;
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
use crate::share::{Part, Shares};
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

/// A connection's place among those that are served at once, and its part of its source's share.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Mutex<Option<Held>>>);

#[derive(Debug)]
struct Held {
    _permit: OwnedSemaphorePermit,
    _part: Option<Part>,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, part: Option<Part>) -> Self {
        Self(Arc::new(Mutex::new(Some(Held { _permit: permit, _part: part }))))
    }

    /// Gives both up to others: the connection waits, and is counted elsewhere.
    pub(crate) fn give_up(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The room that all listeners share.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    places: Arc<Semaphore>,
    shares: Shares,
}

impl Default for Room {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(CONNECTIONS)), shares: Shares::of(SHARE) }
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
        let part = if is_proxy { None } else { room.shares.part(source(address)) };
        if part.is_none() && !is_proxy {
            continue;
        }
        tokio::spawn(async move {
            let served = timeout(WHOLE, one(stream, peer, serving, Place::new(place, part))).await;
            if let Ok(Err(error)) = served {
                tracing::debug!("{peer}: {error}");
            }
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
