//! Serves the metrics over HTTP: `GET /metrics`, a few callers at once, each for a few seconds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Callers at once; others wait in the socket's backlog.
const AT_ONCE: usize = 4;
/// How long a caller may take over its request's headers.
const ASKING: Duration = Duration::from_secs(2);
/// How long one connection lasts, with all that is asked on it.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The longest headers, in bytes; hyper takes no less.
const HEADERS: usize = 8 * 1024;
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

/// Answers with what `metrics` says at that moment, until the daemon ends.
pub(crate) async fn serve<F>(listener: Listener, metrics: F)
where
    F: Fn() -> Result<String, String> + Clone + Send + Sync + 'static,
{
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = match &listener {
            Listener::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| spawn(stream, metrics.clone(), slot))
            }
            Listener::Tcp(listener) => {
                listener.accept().await.map(|(stream, _)| spawn(stream, metrics.clone(), slot))
            }
        };
        if let Err(error) = accepted {
            tracing::warn!("a caller for metrics was not accepted: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn spawn<F>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    metrics: F,
    slot: OwnedSemaphorePermit,
) where
    F: Fn() -> Result<String, String> + Clone + Send + Sync + 'static,
{
    tokio::spawn(async move {
        let service = service_fn(move |request| answer(request, metrics.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(ASKING)
            .max_buf_size(HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        // Whoever asks oddly or too slowly is not worth a line.
        let _served = tokio::time::timeout(TIME_LIMIT, connection).await;
        drop(slot);
    });
}

async fn answer<F>(request: Request<Incoming>, metrics: F) -> Result<Response<Full<Bytes>>, Infallible>
where
    F: Fn() -> Result<String, String> + Send + 'static,
{
    if request.uri().path() != "/metrics" {
        return Ok(text(StatusCode::NOT_FOUND, "metrics are at /metrics\n"));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "metrics are only read\n");
        refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    // The maps are read meanwhile, which may take a while with many sessions.
    let written = tokio::task::spawn_blocking(metrics).await.unwrap_or_else(|error| Err(error.to_string()));
    Ok(match written {
        Ok(body) => {
            let mut response = text(StatusCode::OK, body);
            response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(OPENMETRICS));
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
