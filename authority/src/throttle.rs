//! Who guesses is kept waiting: by person and source together, so that a stranger elsewhere keeps nobody out.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use pinning::Address;

use crate::source::source;

/// Wrong tries that cost nothing.
const FREE: u32 = 5;
/// After the first that does; doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// The same where nobody vouches for addresses: there Alice and who guesses are one source, and she is slowed down, never
/// locked out.
const LONGEST_WAIT_OF_UNKNOWN: Duration = Duration::from_secs(5);
/// Wrong tries of one source over all persons that cost nothing: a source that goes through many names is one that guesses.
const FREE_OF_SOURCE: u32 = 50;
/// After so long without a wrong try everything is forgotten.
const MEMORY: Duration = Duration::from_secs(60 * 60);
/// Pairs that are remembered; the one that was longest quiet makes room.
const MOST: NonZeroUsize = NonZeroUsize::new(65536).unwrap();

/// A source. `None` if nobody vouches for the address: all those are one.
type Source = Option<IpAddr>;
/// A person and a source, or a source alone.
type Key = (Option<String>, Source);

#[derive(Debug, Clone, Copy)]
struct Tries {
    wrong: u32,
    last: Instant,
    /// The person has been right from there: then it is them, whatever else their source does.
    proven: bool,
}

/// Remembers wrong tries.
#[derive(Debug)]
pub struct Throttle {
    tries: Mutex<LruCache<Key, Tries>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { tries: Mutex::new(LruCache::new(MOST)) }
    }
}

impl Throttle {
    /// How long this person has to wait before a try from there is looked at; zero: not at all. A try that is looked at
    /// counts as wrong at once, and [`Throttle::forgive`] takes that back: tries at the same moment do not slip past.
    pub fn try_now(&self, person: &str, address: Option<Address>, now: Instant) -> Duration {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let source = address.map(source);
        let longest = if source.is_some() { LONGEST_WAIT } else { LONGEST_WAIT_OF_UNKNOWN };
        let (own, all) = ((Some(person.to_owned()), source), (None, source));
        let before = tries.peek(&own).copied();
        let mut wait = before.map_or(Duration::ZERO, |own| own.wait(FREE, longest, now));
        if !before.is_some_and(|own| own.proven) {
            wait = wait
                .max(tries.peek(&all).map_or(Duration::ZERO, |all| all.wait(FREE_OF_SOURCE, longest, now)));
        }
        if wait.is_zero() {
            count(&mut tries, own, now);
            count(&mut tries, all, now);
        }
        wait
    }

    /// Forgets the wrong tries of somebody who has proven to be that person.
    pub fn forgive(&self, person: &str, address: Option<Address>) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let source = address.map(source);
        if let Some(own) = tries.get_mut(&(Some(person.to_owned()), source)) {
            *own = Tries { wrong: 0, proven: true, ..*own };
        }
        if let Some(all) = tries.get_mut(&(None, source)) {
            all.wrong = all.wrong.saturating_sub(1);
        }
    }
}

impl Tries {
    fn wait(self, free: u32, longest: Duration, now: Instant) -> Duration {
        let Some(beyond) = self.wrong.checked_sub(free) else { return Duration::ZERO };
        let since = now.saturating_duration_since(self.last);
        if since >= MEMORY {
            return Duration::ZERO;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(16)).min(longest);
        wait.saturating_sub(since)
    }
}

fn count(tries: &mut LruCache<Key, Tries>, key: Key, now: Instant) {
    let entry = tries.get_or_insert_mut(key, || Tries { wrong: 0, last: now, proven: false });
    let forgotten = now.saturating_duration_since(entry.last) >= MEMORY;
    entry.wrong = if forgotten { 1 } else { entry.wrong.saturating_add(1) };
    entry.last = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "198.51.111.1";

    fn at(address: &str) -> Option<Address> {
        Some(address.parse().unwrap())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn who_guesses_waits_longer_and_longer_and_others_do_not() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..5 {
            assert!(throttle.try_now("alice", at(HERE), start).is_zero());
        }
        assert_eq!(throttle.try_now("alice", at(HERE), start), seconds(30));
        assert_eq!(throttle.try_now("alice", at(HERE), start + seconds(10)), seconds(20));
        assert!(throttle.try_now("alice", at("198.51.222.2"), start).is_zero());
        assert!(throttle.try_now("bob", at(HERE), start).is_zero());
        assert!(throttle.try_now("alice", at(HERE), start + seconds(30)).is_zero());
        assert_eq!(throttle.try_now("alice", at(HERE), start + seconds(30)), seconds(60));
        assert!(throttle.try_now("alice", at(HERE), start + seconds(30) + MEMORY).is_zero());
    }

    #[test]
    fn who_is_right_has_never_guessed() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..200 {
            assert!(throttle.try_now("alice", at(HERE), now).is_zero());
            throttle.forgive("alice", at(HERE));
        }
    }

    #[test]
    fn a_source_that_goes_through_names_waits_too_whatever_its_lower_half_is() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..50 {
            let address = at(&format!("2001:db8:1:2::{number:x}"));
            assert!(throttle.try_now(&format!("user{number}"), address, now).is_zero());
        }
        assert!(!throttle.try_now("somebody", at("2001:db8:1:2:3:4:5:6"), now).is_zero());
        assert!(throttle.try_now("somebody", at("2001:db8:1:3::1"), now).is_zero());
    }

    #[test]
    fn who_was_right_from_there_is_kept_out_by_no_other_name_of_that_source() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert!(throttle.try_now("alice", at(HERE), now).is_zero());
        throttle.forgive("alice", at(HERE));
        for number in 0..100 {
            throttle.try_now(&format!("user{number}"), at(HERE), now);
        }
        assert!(!throttle.try_now("bob", at(HERE), now).is_zero());
        assert!(throttle.try_now("alice", at(HERE), now).is_zero());
    }

    #[test]
    fn where_addresses_are_unknown_nobody_waits_long() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..1000 {
            assert!(throttle.try_now("alice", None, now) <= seconds(5));
        }
        assert_eq!(throttle.try_now("alice", None, now), seconds(5));
        assert!(throttle.try_now("alice", None, now + seconds(5)).is_zero());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..70_000u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(number)).into();
            throttle.try_now("alice", Some(address), now);
        }
        assert_eq!(throttle.tries.lock().unwrap().len(), MOST.get());
    }
}
