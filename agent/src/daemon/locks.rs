//! Locks in force; they outlive the agent and the boot.

use super::state::{StateFile, Stored};
use crate::clock;
use crate::session::SessionId;
use pinning::{Address, Lock, LockSubject, LockTarget};

/// Most locks at once.
const MAX_LOCKS: usize = 10_000;

/// The locks, in the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    locks: Vec<Lock>,
}

impl Locks {
    pub(super) fn new(locks: Vec<Lock>) -> Self {
        Self { locks }
    }

    /// A copy of all that hold now.
    pub(crate) fn list(&self) -> Vec<Lock> {
        let now = clock::unix();
        self.locks.iter().filter(|lock| lock.in_force(now)).cloned().collect()
    }

    /// Whether a login without a certificate is locked.
    pub(crate) fn matches_other(&self, login: &str, address: Address) -> bool {
        let now = clock::unix();
        let subject = LockSubject { login, address: Some(address), ..LockSubject::default() };
        self.locks.iter().any(|lock| lock.matches(&subject, now))
    }

    /// Sets one.
    pub(super) fn add(
        &mut self,
        target: LockTarget,
        seconds: Option<u64>,
        reason: Option<String>,
    ) -> Result<Lock, String> {
        if self.locks.len() >= MAX_LOCKS {
            return Err(format!("there are {MAX_LOCKS} locks already; take some away first"));
        }
        let created = clock::unix();
        // Locks are named like sessions: short, random, never used again.
        let id =
            SessionId::random().map_err(|error| format!("no random number for its id: {error}"))?.to_string();
        let until = seconds.map(|seconds| created.saturating_add(seconds));
        let lock = Lock { id, target, until, reason: reason.unwrap_or_default(), created };
        self.locks.push(lock.clone());
        Ok(lock)
    }

    /// Takes one away; false if there is none of that id.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.locks.len();
        self.locks.retain(|lock| lock.id != id);
        self.locks.len() < before
    }

    /// Takes those away that have run out.
    pub(super) fn remove_ended(&mut self) -> Vec<Lock> {
        let now = clock::unix();
        self.locks.extract_if(.., |lock| !lock.in_force(now)).collect()
    }

    /// Everything that is stored, with these locks in it.
    pub(super) fn store(
        &self,
        file: &StateFile,
        mode: Option<super::mode::Commanded>,
    ) -> std::io::Result<()> {
        file.write(&Stored { locks: self.locks.clone(), mode })
    }
}
