//! Serves the metrics over HTTP: `GET /metrics`, a few callers at once, each for a few seconds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// Callers at once; others wait in the socket's backlog.
const AT_ONCE: usize = 4;
/// How long a caller may take over its request's headers.
const ASKING: Duration = Duration::from_secs(2);
/// How long one connection lasts, with the one thing that is asked on it.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The longest headers, in bytes; hyper takes no less.
const HEADERS: usize = 8 * 1024;
/// How long what was written is given to others who ask.
const FRESH: Duration = Duration::from_secs(1);
/// The type of OpenMetrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the metrics are served on.
#[derive(Debug)]
pub(crate) enum Listener {
    /// A socket in the runtime directory.
    Unix(UnixListener),
    /// A port.
    Tcp(TcpListener),
}

/// Writes the metrics as text; takes as long as it takes to read the maps.
type Write = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// The metrics as they were written last. However many ask, they are written by one thread, at most once a second.
struct Latest {
    write: Write,
    written: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Latest {
    async fn text(&self) -> Result<Bytes, String> {
        let mut written = Arc::clone(&self.written).lock_owned().await;
        if let Some((at, text)) = &*written
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let write = Arc::clone(&self.write);
        // A task of its own, so that the lock is held until it is done, also when whoever asked has gone away.
        let writing = tokio::spawn(async move {
            let text = tokio::task::spawn_blocking(move || write()).await;
            let text = Bytes::from(text.unwrap_or_else(|error| Err(error.to_string()))?);
            *written = Some((Instant::now(), text.clone()));
            Ok(text)
        });
        writing.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// Answers with what `write` says at that moment, or said a second ago, until the daemon ends.
pub(crate) async fn serve(
    listener: Listener,
    write: impl Fn() -> Result<String, String> + Send + Sync + 'static,
) {
    let latest = Arc::new(Latest { write: Arc::new(write), written: Arc::default() });
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let latest = Arc::clone(&latest);
        let accepted = match &listener {
            Listener::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| spawn(stream, latest, slot))
            }
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| spawn(stream, latest, slot)),
        };
        if let Err(error) = accepted {
            tracing::warn!("a caller for metrics was not accepted: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn spawn(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    latest: Arc<Latest>,
    slot: OwnedSemaphorePermit,
) {
    tokio::spawn(async move {
        let service = service_fn(move |request| answer(request, Arc::clone(&latest)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(ASKING)
            .max_buf_size(HEADERS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        // Whoever asks oddly or too slowly is not worth a line.
        let _served = tokio::time::timeout(TIME_LIMIT, connection).await;
        drop(slot);
    });
}

async fn answer(
    request: Request<Incoming>,
    latest: Arc<Latest>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/metrics" {
        return Ok(text(StatusCode::NOT_FOUND, "metrics are at /metrics\n"));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "metrics are only read\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    Ok(match latest.text().await {
        Ok(body) => {
            let mut response = text(StatusCode::OK, body);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    })
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
