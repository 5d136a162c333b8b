//! What a cut session's record in the kernel says of its cut, for the agent that comes after one that died: why, and whether
//! it was where that counts. Else whoever was to be ended could come back to life.

use crate::audit::CutCause;
use agent_ebpf::{Session, SessionState};

/// The note's bit for sessions that are to end, whatever the mode has become since.
const DOOMED: u8 = 0x80;

const CAUSES: [CutCause; 5] =
    [CutCause::Lock, CutCause::Expired, CutCause::Command, CutCause::NewAddress, CutCause::Relay];

/// A cause's number in notes; 0 is none. A new one goes into `CAUSES` too.
const fn number(cause: CutCause) -> u8 {
    match cause {
        CutCause::Lock => 1,
        CutCause::Expired => 2,
        CutCause::Command => 3,
        CutCause::NewAddress => 4,
        CutCause::Relay => 5,
    }
}

/// A session that is cut. Who is doomed once remains so.
pub(super) fn cut(session: Session, cause: CutCause, doomed: bool) -> Session {
    let doomed = if doomed || is_doomed(&session) { DOOMED } else { 0 };
    session.with_state(SessionState::Cut).with_note(number(cause) | doomed)
}

/// The same session as if it had never been cut.
pub(super) fn lifted(session: Session) -> Session {
    session.with_state(SessionState::Live).with_note(0)
}

/// Why a session is cut, if it is; for want of a note, by a lock.
pub(super) fn cause(session: &Session) -> Option<CutCause> {
    let noted = session.note() & !DOOMED;
    let known = CAUSES.into_iter().find(|cause| number(*cause) == noted);
    (session.state() == SessionState::Cut).then(|| known.unwrap_or(CutCause::Lock))
}

/// Whether a session was cut where that counts.
pub(super) fn is_doomed(session: &Session) -> bool {
    session.state() == SessionState::Cut && session.note() & DOOMED != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_reads_back_with_its_cause_and_who_is_doomed_remains_so() {
        for cause in CAUSES {
            for doomed in [false, true] {
                let session = cut(Session::unpinned(), cause, doomed);
                assert_eq!((super::cause(&session), is_doomed(&session)), (Some(cause), doomed));
                assert_eq!(is_doomed(&cut(session, CutCause::Lock, false)), doomed);
                assert_eq!(lifted(session), Session::unpinned());
            }
        }
        assert_eq!(cause(&Session::unpinned()), None);
        assert_eq!(cause(&Session::unpinned().with_state(SessionState::Cut)), Some(CutCause::Lock));
    }
}
