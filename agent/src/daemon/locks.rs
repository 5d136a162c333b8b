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
    /// With ids that say whose they are; also those that have run out, for a clock that was ahead is set back.
    followed: Vec<Lock>,
    /// Both, as far as they had not run out when this was last looked at.
    locks: Arc<[Lock]>,
}

/// What the ids of the authority's locks begin with here.
const FOLLOWED: &str = "authority/";

impl Locks {
    pub(super) fn new(own: Vec<Lock>, followed: Vec<Lock>) -> Self {
        let mut locks = Self { own, followed, locks: Arc::default() };
        locks.join(clock::unix());
        locks
    }

    /// What is new in force, and what is so no more.
    fn join(&mut self, now: u64) -> (Vec<Lock>, Vec<Lock>) {
        let locks =
            self.own.iter().chain(&self.followed).filter(|lock| lock.in_force(now)).cloned().collect();
        let before = std::mem::replace(&mut self.locks, locks);
        let (old, new): (HashSet<&Lock>, HashSet<&Lock>) =
            (before.iter().collect(), self.locks.iter().collect());
        (new.difference(&old).copied().cloned().collect(), old.difference(&new).copied().cloned().collect())
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
        self.followed = followed;
        self.join(clock::unix())
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
        // The others are as they were when last looked at: what becomes of them is for the next look to tell.
        self.locks = self.locks.iter().cloned().chain([lock.clone()]).collect();
        Ok(lock)
    }

    /// Takes one of the node's own away; false if there is none of that id.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.own.len();
        self.own.retain(|lock| lock.id != id);
        self.locks = self.locks.iter().filter(|lock| lock.id != id).cloned().collect();
        self.own.len() < before
    }

    /// Takes those away that have run out, and takes up those of the authority's again that run on by a clock that was set
    /// back; what is new, and what is gone.
    pub(super) fn look_at_the_clock(&mut self, now: u64) -> (Vec<Lock>, Vec<Lock>) {
        let in_force = self.own.iter().chain(&self.followed).filter(|lock| lock.in_force(now)).count();
        // What is listed are some of them, if none of it has ended; and all, if there are as many.
        let unchanged = self.locks.iter().all(|lock| lock.in_force(now)) && self.locks.len() == in_force;
        let changes = if unchanged { (Vec::new(), Vec::new()) } else { self.join(now) };
        self.own.retain(|lock| lock.in_force(now));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(id: &str, until: u64) -> Lock {
        let target = LockTarget::Login("alice".to_owned());
        Lock { id: id.to_owned(), target, until: Some(until), reason: String::new(), created: 0 }
    }

    fn ids(locks: &[Lock]) -> Vec<&str> {
        locks.iter().map(|lock| lock.id.as_str()).collect()
    }

    #[test]
    fn a_clock_that_was_ahead_takes_none_of_the_authoritys_locks_away_for_good() {
        let now = clock::unix();
        let mut locks = Locks::new(vec![until("own", now + 10)], vec![until("theirs", now + 10)]);
        let (new, gone) = locks.look_at_the_clock(now);
        assert!(new.is_empty() && gone.is_empty());
        let (new, mut gone) = locks.look_at_the_clock(now + 10);
        gone.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!((ids(&new), ids(&gone)), (vec![], vec!["own", "theirs"]));
        assert!(locks.list().is_empty());
        let (new, gone) = locks.look_at_the_clock(now);
        assert_eq!((ids(&new), ids(&gone)), (vec!["theirs"], vec![]));
        assert_eq!(ids(&locks.list()), ["theirs"]);
    }

    #[test]
    fn what_a_policy_brings_and_takes_is_told_unless_it_was_over() {
        let now = clock::unix();
        let mut locks = Locks::new(vec![], vec![until("stays", now + 100), until("goes", now + 100)]);
        let (new, gone) =
            locks.follow(vec![until("stays", now + 100), until("comes", now + 100), until("over", 1)]);
        assert_eq!((ids(&new), ids(&gone)), (vec!["comes"], vec!["goes"]));
    }
}
