//! Room for sessions: how many there may be at once, and how many of them one person may have.
//!
//! Processes left behind keep sessions alive, so that one person alone could use up everybody's room.

use super::{OpenError, State};
use crate::audit::Subject;

/// How many sessions there may be.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// At once.
    pub sessions: u32,
    /// Of one person's.
    pub per_person: u32,
}

impl State {
    /// Looks that there is room for one more session of somebody's.
    pub(super) fn has_room(&self, room: Room, subject: &Subject) -> Result<(), OpenError> {
        let fits = |taken: usize, most: u32| u32::try_from(taken).is_ok_and(|taken| taken < most);
        if !fits(self.live.len(), room.sessions) {
            return Err(OpenError::TableFull);
        }
        let theirs = self.live.values().filter(|live| is_same_person(&live.record.subject, subject));
        let most = room.per_person;
        if fits(theirs.count(), most) { Ok(()) } else { Err(OpenError::TooMany { most }) }
    }
}

/// A login without a certificate is nobody's; the account stands for whoever it is.
fn is_same_person(one: &Subject, other: &Subject) -> bool {
    (&one.cluster, &one.user) == (&other.cluster, &other.user)
        && (one.user.is_some() || one.login == other.login)
}
