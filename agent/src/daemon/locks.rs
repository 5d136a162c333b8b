//! Locks in force; they outlive the agent and the boot. The node's own lie in its state file, those of the authority that
//! it follows in that one's policy.

use crate::clock;
use crate::config::Followed;
use crate::session::SessionId;
use pinning::{Address, Lock, LockSubject, LockTarget};
use std::collections::HashSet;
use std::sync::Arc;

/// Most locks at once.
const MAX_LOCKS: usize = 10_000;

/// The locks, in the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    own: Vec<Lock>,
    /// With ids that say whose they are.
    followed: Vec<Lock>,
    /// Both.
    locks: Arc<[Lock]>,
}

/// What the ids of the authority's locks begin with here.
const FOLLOWED: &str = "authority/";

impl Locks {
    pub(super) fn new(own: Vec<Lock>, followed: Vec<Lock>) -> Self {
        let mut locks = Self { own, followed, locks: Arc::default() };
        locks.join();
        locks
    }

    fn join(&mut self) {
        self.locks = self.own.iter().chain(&self.followed).cloned().collect();
    }

    /// The node's own.
    pub(super) fn own(&self) -> Vec<Lock> {
        self.own.clone()
    }

    /// The id that an authority knows a lock by, if it is an authority's.
    pub(super) fn followed_id(id: &str) -> Option<&str> {
        id.strip_prefix(FOLLOWED)
    }

    /// Those of a policy.
    pub(super) fn of_policy(policy: &Followed) -> Vec<Lock> {
        let named = |lock: &Lock| Lock { id: format!("{FOLLOWED}{}", lock.id), ..lock.clone() };
        policy.document.locks().map(named).collect()
    }

    /// Replaces those of the authority; what is new, and what is gone.
    pub(super) fn follow(&mut self, followed: Vec<Lock>) -> (Vec<Lock>, Vec<Lock>) {
        let now = clock::unix();
        let followed: Vec<Lock> = followed.into_iter().filter(|lock| lock.in_force(now)).collect();
        let before = std::mem::replace(&mut self.followed, followed);
        self.join();
        let (old, new): (HashSet<&Lock>, HashSet<&Lock>) =
            (before.iter().collect(), self.followed.iter().collect());
        (new.difference(&old).copied().cloned().collect(), old.difference(&new).copied().cloned().collect())
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
        if self.own.len() >= MAX_LOCKS {
            return Err(format!("there are {MAX_LOCKS} locks already; take some away first"));
        }
        let created = clock::unix();
        // Locks are named like sessions: short, random, never used again.
        let id =
            SessionId::random().map_err(|error| format!("no random number for its id: {error}"))?.to_string();
        let until = seconds.map(|seconds| created.saturating_add(seconds));
        let lock = Lock { id, target, until, reason: reason.unwrap_or_default(), created };
        self.own.push(lock.clone());
        self.join();
        Ok(lock)
    }

    /// Takes one of the node's own away; false if there is none of that id.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.own.len();
        self.own.retain(|lock| lock.id != id);
        self.join();
        self.own.len() < before
    }

    /// Takes those away that have run out.
    pub(super) fn remove_ended(&mut self) -> Vec<Lock> {
        let now = clock::unix();
        let ended: Vec<Lock> = self.locks.iter().filter(|lock| !lock.in_force(now)).cloned().collect();
        if !ended.is_empty() {
            self.own.retain(|lock| lock.in_force(now));
            self.followed.retain(|lock| lock.in_force(now));
            self.join();
        }
        ended
    }
}
