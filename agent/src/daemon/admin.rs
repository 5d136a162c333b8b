//! Answers the command line.

use super::call::{Answer, Call, MAX_CALL, ModeInForce, SessionList};
use super::locks::Locks;
use super::state::Stored;
use super::{Daemon, lock};
use crate::audit::{CutCause, Subject, What};
use pinning::{LockTarget, Mode};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

/// How long a caller may take to say what it wants, and to take an answer.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Callers at once on each of the two sockets.
const AT_ONCE: usize = 16;

/// Followers of events at once, apart from the callers: they stay for long.
const FOLLOWERS: usize = 16;
/// How long a mode may be on trial.
const LONGEST_TRIAL: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a socket's callers may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// Everything.
    All,
    /// Look.
    Read,
}

/// Accepts and answers until the daemon ends.
pub(super) async fn callers(daemon: Arc<Daemon>, listener: UnixListener, rights: Rights) {
    let (slots, followers) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(FOLLOWERS)));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a caller's connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (daemon, followers) = (Arc::clone(&daemon), Arc::clone(&followers));
        tokio::spawn(async move {
            if let Err(error) = serve(&daemon, stream, rights, slot, &followers).await {
                tracing::debug!("a caller was not answered: {error}");
            }
        });
    }
}

async fn serve(
    daemon: &Arc<Daemon>,
    stream: UnixStream,
    rights: Rights,
    slot: OwnedSemaphorePermit,
    followers: &Semaphore,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let limit = u64::try_from(MAX_CALL).unwrap_or(u64::MAX);
    let mut lines = BufReader::new(read.take(limit));
    tokio::time::timeout(TIME_LIMIT, lines.read_line(&mut line)).await??;
    match serde_json::from_str::<Call>(&line) {
        Err(error) => {
            send(&mut write, &Answer::Refused { why: format!("the call makes no sense: {error}") }).await
        }
        Ok(call) if rights == Rights::Read && !call.only_reads() => {
            send(&mut write, &Answer::Refused { why: "only root may do this".to_owned() }).await
        }
        Ok(Call::Events { follow: true }) => {
            drop(slot);
            let Ok(_place) = followers.try_acquire() else {
                let why = format!("{FOLLOWERS} others are following events already");
                return send(&mut write, &Answer::Refused { why }).await;
            };
            let mut end = [0];
            tokio::select! {
                followed = events(daemon, &mut write, true) => followed,
                // The caller says no more; what can be read now is its end.
                _gone = lines.read(&mut end) => Ok(()),
            }
        }
        Ok(Call::Events { follow: false }) => events(daemon, &mut write, false).await,
        Ok(call) => {
            let daemon = Arc::clone(daemon);
            let answer =
                tokio::task::spawn_blocking(move || daemon.answer(call)).await.map_err(io::Error::other)?;
            send(&mut write, &answer).await
        }
    }
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    tokio::time::timeout(TIME_LIMIT, to.write_all(&line)).await?
}

/// The latest events, and those to come until the caller goes away or falls behind.
async fn events(daemon: &Daemon, to: &mut (impl AsyncWriteExt + Unpin), follow: bool) -> io::Result<()> {
    let (recent, mut live) = daemon.audit.follow();
    for event in recent {
        send(to, &Answer::Event(Box::new(event))).await?;
    }
    if !follow {
        return Ok(());
    }
    loop {
        match live.recv().await {
            Ok(event) => send(to, &Answer::Event(Box::new(event))).await?,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                let why = format!("{missed} events came faster than they were read; see the journal for all");
                return send(to, &Answer::Refused { why }).await;
            }
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}

impl Daemon {
    /// Does what a call says.
    fn answer(&self, call: Call) -> Answer {
        match call {
            Call::Status => Answer::Status(Box::new(self.status())),
            Call::Sessions => {
                let unmanaged = lock(&self.strangers).unmanaged();
                Answer::Sessions(SessionList { sessions: self.sessions.list(), unmanaged })
            }
            Call::Events { .. } => Answer::Refused { why: "events are sent one by one".to_owned() },
            Call::Denials { at_most } => Answer::Denials { denials: self.audit.latest_denials(at_most) },
            Call::Penalties => Answer::Penalties { penalties: self.penalties.list() },
            Call::ClearPenalties => {
                let cleared = self.penalties.clear();
                Answer::Done { text: format!("{cleared} penalties cleared") }
            }
            Call::Cut { session } => match self.sessions.cut(session, CutCause::Command) {
                Some(sockets) => {
                    Answer::Done { text: format!("session {session} cut, sockets closing: {sockets}") }
                }
                None => Answer::NotFound { what: format!("session {session}") },
            },
            Call::Lock { target, seconds, reason } => self.set_lock(target, seconds, reason),
            Call::Unlock { lock } => self.unlock(lock),
            Call::Locks => Answer::Locks { locks: self.locks().list().to_vec() },
            Call::Mode => Answer::Mode(lock(&self.mode).in_force(Instant::now())),
            Call::SetMode { mode, confirm_within } => {
                self.command_mode(mode, confirm_within.map(Duration::from_secs))
            }
        }
    }

    /// The lock is in force before sessions are looked through, so that no login slips in between; and a disk that hangs
    /// keeps none of them going.
    fn set_lock(&self, target: LockTarget, seconds: Option<u64>, reason: Option<String>) -> Answer {
        let added = self.locks().add(target, seconds, reason);
        let new = match added {
            Ok(new) => new,
            Err(why) => return Answer::Refused { why },
        };
        let cut = self.sessions.cut_locked(&new);
        let not_stored = self.store().err().map(|error| error.to_string());
        let (id, target, comment) = (new.id.clone(), new.target.to_string(), new.reason.clone());
        self.audit.write(What::Locked { lock: id, target, comment }, Subject::default());
        Answer::Locked { lock: new, cut, not_stored }
    }

    fn unlock(&self, id: String) -> Answer {
        if let Some(id) = Locks::followed_id(&id) {
            let why = format!(
                "it is the authority's, which would set it again: take it away there (cotter-authority unlock {id})"
            );
            return Answer::Refused { why };
        }
        if !self.locks().remove(&id) {
            return Answer::NotFound { what: format!("lock {id}") };
        }
        self.forgive_unlocked();
        let stored = self.store();
        self.audit.write(What::Unlocked { lock: id.clone() }, Subject::default());
        match stored {
            Ok(()) => Answer::Done { text: format!("lock {id} taken away") },
            Err(error) => Answer::Done {
                text: format!("lock {id} taken away, but it comes back with the agent: {error}"),
            },
        }
    }

    fn command_mode(&self, mode: Mode, within: Option<Duration>) -> Answer {
        if within.is_some_and(|within| within > LONGEST_TRIAL) {
            return Answer::Refused { why: "a mode can be on trial for 7 days at most".to_owned() };
        }
        let problem = self.change_mode("command", |node| match within {
            Some(within) => node.try_out(mode, within, Instant::now()),
            None => node.set(mode),
        });
        let not_stored = self.store().err().map(|error| format!("it will not outlive the agent: {error}"));
        let problem = problem.or(not_stored);
        let in_force = lock(&self.mode).in_force(Instant::now());
        Answer::Mode(ModeInForce { problem, ..in_force })
    }

    /// Stores what outlives a reboot.
    pub(super) fn store(&self) -> io::Result<()> {
        let file = lock(&self.state_file);
        // Copied out before it is written: the disk may take its time, and logins need the locks meanwhile.
        let mode = lock(&self.mode).to_store();
        let locks = self.locks().own();
        file.write(&Stored { mode, locks })
    }
}
