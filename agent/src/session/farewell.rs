//! What a session's terminals are told before it ends: why, and what to do.

use super::{Record, SessionId, Sessions, terminals};
use crate::audit::CutCause;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longest that all terminals together are looked for and written to; who comes later ends without words.
const TELLING: Duration = Duration::from_millis(500);
/// How long sshd has to send what its terminals took. The packets of the session are dropped meanwhile.
const SENDING: Duration = Duration::from_millis(500);

/// Tells those of the sessions that are to end, and waits until the words are on their way, if there were any.
/// Nobody else ends them meanwhile. Call it without the lock.
pub(super) fn say(sessions: &Sessions, to: &[SessionId]) {
    let deadline = Instant::now() + TELLING;
    let mut told = 0;
    for (session, cause) in parting(sessions, to, deadline + SENDING) {
        told += terminals::tell(&session, sessions.cgroups.as_ref(), &line(cause), deadline);
    }
    if told > 0 {
        sleep(SENDING);
    }
}

/// Marks those that are to end, and have not been tried to be ended before.
fn parting(sessions: &Sessions, ids: &[SessionId], until: Instant) -> Vec<(Record, CutCause)> {
    let mut state = sessions.state();
    let mode = state.mode;
    let mut found = Vec::new();
    for id in ids {
        let session = state.live.get_mut(id).filter(|it| it.is_to_end(mode) && it.ending == 0);
        let Some((session, cause)) = session.and_then(|it| it.cut.map(|cause| (it, cause))) else { continue };
        session.parting = Some(until);
        found.push((session.record.clone(), cause));
    }
    found
}

/// Carriage returns, since the terminal may be in raw mode.
fn line(cause: CutCause) -> String {
    let why = match cause {
        CutCause::Expired => "your certificate has expired; get a new one and log in again",
        CutCause::Lock => "it has been locked; ask your administrator",
        CutCause::Command => "an administrator has ended it",
        CutCause::NewAddress => "you have logged in from another address; here, log in again",
    };
    format!("\r\nCotter ends this session: {why}.\r\n")
}
