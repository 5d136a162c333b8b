//! Answers the hooks: bounded in message size, time and number, so that strangers cannot keep logins out.

use super::Daemon;
use crate::login;
use cotter_hook::monitor::Monitor;
use cotter_hook::protocol::{HEADER_LEN, Header, Reply, Request};
use rustix::process::Pid;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// How long one request may take, from connecting to the answer; the hook waits no longer.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Which hook a socket serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// AuthorizedPrincipalsCommand: strangers can make it ask.
    Principals,
    /// PAM: the key is proven.
    Pam,
}

impl Hook {
    /// Requests at once. Each has its own share, so that strangers on one leave the other alone.
    fn at_once(self) -> usize {
        match self {
            Self::Principals => 8,
            Self::Pam => 32,
        }
    }
}

/// Accepts and answers until the daemon ends.
pub(super) async fn hooks(daemon: Arc<Daemon>, listener: UnixListener, hook: Hook) {
    let slots = Arc::new(Semaphore::new(hook.at_once()));
    loop {
        // The slot is taken before the connection is: the rest waits in the socket's backlog, outside this process.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a hook's connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let daemon = Arc::clone(&daemon);
        tokio::spawn(async move {
            let answered = tokio::time::timeout(TIME_LIMIT, answer(daemon, stream, hook)).await;
            if let Err(error) = answered.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
                tracing::debug!("a hook was not answered: {error}");
            }
            drop(slot);
        });
    }
}

async fn answer(daemon: Arc<Daemon>, mut stream: UnixStream, hook: Hook) -> io::Result<()> {
    let caller = stream.peer_cred()?.pid().and_then(Pid::from_raw);
    let request = read(&mut stream).await?;
    let reply = match request {
        Err(reply) => reply,
        Ok(request) => {
            let decide = move || decide(&daemon, caller, request, hook);
            tokio::task::spawn_blocking(decide).await.map_err(io::Error::other)?
        }
    };
    let encoded = reply.encode().map_err(io::Error::other)?;
    stream.write_all(&encoded).await
}

/// One request, or what to answer to what is none.
async fn read(stream: &mut UnixStream) -> io::Result<Result<Request, Reply>> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).await?;
    let header = match Header::decode(&header) {
        Ok(header) => header,
        Err(error) => return Ok(Err(Reply::Error { text: error.to_string() })),
    };
    let mut body = vec![0; header.body_len];
    stream.read_exact(&mut body).await?;
    Ok(Request::decode(header, &body).map_err(|error| Reply::Error { text: error.to_string() }))
}

/// Only the child of a real sshd monitor is answered, whatever it says of itself.
fn decide(daemon: &Daemon, caller: Option<Pid>, request: Request, hook: Hook) -> Reply {
    let monitor = caller.ok_or_else(|| "the caller has no process id here".to_owned());
    let paths = &daemon.config().sshd_paths;
    let monitor =
        monitor.and_then(|caller| Monitor::of_caller(caller, paths).map_err(|error| error.to_string()));
    let monitor = match monitor {
        Ok(monitor) => monitor,
        Err(error) => return Reply::Error { text: format!("only sshd's own child is answered: {error}") },
    };
    match (hook, request) {
        (Hook::Principals, Request::Principals { user, certificate }) => {
            login::principals(daemon, &monitor, &user, &certificate)
        }
        (Hook::Pam, Request::Open(open)) => login::open(daemon, &monitor, &open),
        (Hook::Pam, Request::Close(_)) => {
            daemon.sweep_soon.notify_one();
            Reply::Closed
        }
        (Hook::Principals, Request::Open(_) | Request::Close(_))
        | (Hook::Pam, Request::Principals { .. }) => {
            Reply::Error { text: "this is the other hook's socket".to_owned() }
        }
    }
}
