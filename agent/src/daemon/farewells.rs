//! Has terminals told why their sessions end, by processes of their own, and ends the sessions then.
//!
//! Such a process may hang, beyond the reach of signals even: it is given up at the deadline, and its place is free again
//! only when it is really gone.

use super::Daemon;
use crate::farewell::Farewell;
use crate::session::Parting;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

/// Processes at once, with those that were given up.
const TELLERS: usize = 2;
/// Longest that one is waited for, and that a place for it is.
const TELLING: Duration = Duration::from_millis(400);
/// How long sshd has to send what its terminals took.
const SENDING: Duration = Duration::from_millis(400);

/// Has sessions told and ends them until the daemon ends.
pub(super) async fn farewells(daemon: Arc<Daemon>) {
    let tellers = Arc::new(Semaphore::new(TELLERS));
    let mut farewells = daemon.sessions.say_farewell();
    while let Some(parting) = farewells.recv().await {
        tokio::spawn(part(Arc::clone(&daemon), parting, Arc::clone(&tellers)));
    }
}

async fn part(daemon: Arc<Daemon>, Parting { sessions, words }: Parting, tellers: Arc<Semaphore>) {
    if tell(&words, tellers).await {
        sleep(SENDING).await;
    }
    let ended = tokio::task::spawn_blocking(move || daemon.sessions.end_parted(&sessions));
    if let Err(error) = ended.await {
        tracing::error!("sessions that were told of their end are ended by the sweep: {error}");
    }
}

/// Has terminals told, until the deadline; whether any may have taken the words.
async fn tell(words: &[Farewell], tellers: Arc<Semaphore>) -> bool {
    let deadline = Instant::now() + TELLING;
    let Ok(Ok(place)) = timeout_at(deadline, tellers.acquire_owned()).await else {
        tracing::warn!("terminals are not told why their sessions end: those who tell hang at others");
        return false;
    };
    let mut teller = match teller() {
        Ok(teller) => teller,
        Err(error) => {
            tracing::warn!("no process could be started to tell terminals why their sessions end: {error}");
            return false;
        }
    };
    let told = timeout_at(deadline, ask(&mut teller, words)).await;
    tokio::spawn(dispose(teller, place));
    match told {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => {
            tracing::warn!("terminals were not told why their sessions end: {error}");
            false
        }
        Err(_elapsed) => true,
    }
}

/// The agent's own program, with nothing of the agent's but its rights.
fn teller() -> std::io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg("farewell")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

async fn ask(teller: &mut Child, words: &[Farewell]) -> std::io::Result<bool> {
    let list = serde_json::to_vec(words)?;
    if let Some(mut input) = teller.stdin.take() {
        input.write_all(&list).await?;
    }
    Ok(teller.wait().await?.success())
}

/// Kills a process and keeps its place until it is gone, however long that takes.
async fn dispose(mut teller: Child, place: OwnedSemaphorePermit) {
    // An error means that it is gone.
    let _killed = teller.start_kill();
    let _gone = teller.wait().await;
    drop(place);
}
