//! Takes connections, as many as there is room for, and answers what comes by them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::config::ProxyProtocol;
use crate::http::{self, Authority};
use crate::{complaint, connection};

/// Connections at once; the others wait in the kernel's queue.
const CONNECTIONS: usize = 1024;
/// Longest that a TLS handshake takes.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest wait for the head of a request.
const REQUEST: Duration = Duration::from_secs(10);
/// Longest that a connection lives: nobody needs more than some requests.
const WHOLE: Duration = Duration::from_secs(120);
/// After a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection's place among those that are served at once.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Place {
    /// Gives it up to others: the connection waits, and is counted elsewhere.
    pub(crate) fn give_up(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Serves a listener until the process ends.
pub(crate) async fn serve(
    listener: TcpListener,
    authority: Arc<Authority>,
    tls: TlsAcceptor,
    proxied: ProxyProtocol,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("no connection could be taken: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (authority, tls) = (Arc::clone(&authority), tls.clone());
        tokio::spawn(async move {
            let place = Place(Arc::new(Mutex::new(Some(place))));
            let served = timeout(WHOLE, one(stream, peer, authority, tls, proxied, place)).await;
            if let Ok(Err(error)) = served {
                tracing::debug!("{peer}: {error}");
            }
        });
    }
}

async fn one(
    stream: TcpStream,
    peer: SocketAddr,
    authority: Arc<Authority>,
    tls: TlsAcceptor,
    proxied: ProxyProtocol,
    place: Place,
) -> io::Result<()> {
    let received = connection::receive(stream, peer, &authority.hops, proxied).await;
    let (sender, stream) =
        received.inspect_err(|error| complaint::tell(peer, error)).map_err(io::Error::other)?;
    let stream = timeout(HANDSHAKE, tls.accept(stream)).await??;
    let routes: Router = http::routes(authority, sender, place);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST).max_buf_size(64 * 1024);
    http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .await
        .map_err(io::Error::other)
}
