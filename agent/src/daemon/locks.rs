//! Locks in force; they outlive the agent and the boot.

use crate::clock;
use crate::session::SessionId;
use pinning::{Address, Lock, LockSubject, LockTarget};
use std::sync::Arc;

/// Most locks at once.
const MAX_LOCKS: usize = 10_000;

/// The locks, in the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    locks: Arc<[Lock]>,
}

impl Locks {
    pub(super) fn new(locks: Vec<Lock>) -> Self {
        Self { locks: locks.into() }
    }

    /// All of them, shared; some may have run out since the latest sweep.
    pub(crate) fn list(&self) -> Arc<[Lock]> {
        Arc::clone(&self.locks)
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
        self.locks = self.locks.iter().cloned().chain([lock.clone()]).collect();
        Ok(lock)
    }

    /// Takes one away; false if there is none of that id.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.locks.len();
        self.locks = self.locks.iter().filter(|lock| lock.id != id).cloned().collect();
        self.locks.len() < before
    }

    /// Takes those away that have run out.
    pub(super) fn remove_ended(&mut self) -> Vec<Lock> {
        let now = clock::unix();
        let (in_force, ended): (Vec<Lock>, Vec<Lock>) =
            self.locks.iter().cloned().partition(|lock| lock.in_force(now));
        if !ended.is_empty() {
            self.locks = in_force.into();
        }
        ended
    }
}
