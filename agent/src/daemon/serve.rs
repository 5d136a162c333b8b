//! Answers the hooks: bounded in message size, time and number, so that strangers cannot keep logins out.

use super::Daemon;
use crate::audit::Step;
use crate::login;
use cotter_hook::monitor::Monitor;
use cotter_hook::protocol::{HEADER_LEN, Header, Reply, Request};
use rustix::process::Pid;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long one request may take, from connecting to the answer; the hook waits no longer.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// How long a hook may take to say what it asks; it has it ready when it connects.
const ASKING: Duration = Duration::from_millis(500);

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
        // Whoever is not sshd's child is sent away here, so that it never holds a slot.
        let monitor = match monitor(&daemon, &stream) {
            Ok(monitor) => monitor,
            Err(error) => {
                refuse(&stream, &error);
                continue;
            }
        };
        tokio::spawn(serve(Arc::clone(&daemon), stream, hook, monitor, slot));
    }
}

async fn serve(
    daemon: Arc<Daemon>,
    stream: UnixStream,
    hook: Hook,
    monitor: Monitor,
    slot: OwnedSemaphorePermit,
) {
    let answered = tokio::time::timeout(TIME_LIMIT, answer(daemon, stream, hook, monitor, slot)).await;
    if let Err(error) = answered.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
        tracing::debug!("a hook was not answered: {error}");
    }
}

/// The slot is held until the work is done, also when the answer comes too late to be sent.
async fn answer(
    daemon: Arc<Daemon>,
    mut stream: UnixStream,
    hook: Hook,
    monitor: Monitor,
    slot: OwnedSemaphorePermit,
) -> io::Result<()> {
    let deadline = Instant::now() + TIME_LIMIT;
    let reply = match tokio::time::timeout(ASKING, read(&mut stream)).await?? {
        Err(reply) => reply,
        Ok(request) => {
            let decide = move || {
                let began = Instant::now();
                let step = step(hook, &request);
                let reply = decide(&daemon, &monitor, request, hook, deadline);
                if let Some(step) = step {
                    daemon.audit.tally().decided(step, began.elapsed());
                }
                drop(slot);
                reply
            };
            tokio::task::spawn_blocking(decide).await.map_err(io::Error::other)?
        }
    };
    send(&mut stream, &reply).await
}

async fn send(stream: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let encoded = reply.encode().map_err(io::Error::other)?;
    stream.write_all(&encoded).await
}

/// Says why and closes: nothing of such a caller is kept, not even for a moment.
fn refuse(stream: &UnixStream, error: &str) {
    let text = format!("only sshd's own child is answered: {error}");
    tracing::debug!("{text}");
    if let Ok(encoded) = (Reply::Error { text }).encode() {
        // Fits into the socket's empty buffer, or goes unsaid.
        let _sent = stream.try_write(&encoded);
    }
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

/// The sshd monitor whose child the caller is, whatever the caller says of itself.
fn monitor(daemon: &Daemon, stream: &UnixStream) -> Result<Monitor, String> {
    let caller = stream.peer_cred().map_err(|error| error.to_string())?;
    let caller = caller.pid().and_then(Pid::from_raw).ok_or("the caller has no process id here")?;
    Monitor::of_caller(caller, &daemon.config().sshd_paths).map_err(|error| error.to_string())
}

/// The step of a login that a request is; none if it came to the wrong socket.
fn step(hook: Hook, request: &Request) -> Option<Step> {
    match (hook, request) {
        (Hook::Principals, _) => Some(Step::Principals),
        (Hook::Pam, Request::Open(_)) => Some(Step::Session),
        (Hook::Pam, Request::Principals { .. }) => None,
    }
}

fn decide(daemon: &Daemon, monitor: &Monitor, request: Request, hook: Hook, deadline: Instant) -> Reply {
    match (hook, request) {
        (Hook::Principals, Request::Principals { user, certificate }) => {
            login::principals(daemon, monitor, &user, &certificate)
        }
        (Hook::Pam, Request::Open(open)) => login::open(daemon, monitor, &open, deadline),
        (Hook::Principals, Request::Open(_)) | (Hook::Pam, Request::Principals { .. }) => {
            Reply::Error { text: "this is the other hook's socket".to_owned() }
        }
    }
}
