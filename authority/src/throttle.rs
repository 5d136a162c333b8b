//! Who guesses is kept waiting: by person and source together, so that a stranger elsewhere keeps nobody out.

use std::net::{IpAddr, Ipv6Addr};
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
/// The same of an IPv6 site: whoever has one has 65536 sources.
const FREE_OF_SITE: u32 = 300;
/// The site's part of an address.
const SITE: u32 = 48;
/// Wrong codes of a second factor that cost nothing, wherever they come from: who sends them has the password, so that no
/// stranger keeps anybody out.
const FREE_CODES: u32 = 5;
/// After so long without a wrong try everything is forgotten.
const MEMORY: Duration = Duration::from_secs(60 * 60);
/// Pairs that are remembered; the one that was longest quiet makes room.
const MOST: NonZeroUsize = NonZeroUsize::new(131_072).unwrap();

/// A source. `None` if nobody vouches for the address: all those are one.
type Source = Option<IpAddr>;

/// What wrong tries are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// A person and a source.
    Pair(String, Source),
    /// A source alone.
    Source(Source),
    /// Its site.
    Site(Ipv6Addr),
}

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
    /// Wrong codes by person: apart, so that nobody without the password pushes them out.
    codes: Mutex<LruCache<String, Tries>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { tries: Mutex::new(LruCache::new(MOST)), codes: Mutex::new(LruCache::new(MOST)) }
    }
}

impl Throttle {
    /// How long this person has to wait before a try from there is looked at; zero: not at all. A try that is looked at
    /// counts as wrong at once, and [`Throttle::forgive`] or [`Throttle::take_back`] takes that back: tries at the same moment
    /// do not slip past.
    pub fn try_now(&self, person: &str, address: Option<Address>, now: Instant) -> Duration {
        let mut tries = locked(&self.tries);
        let longest = if address.is_some() { LONGEST_WAIT } else { LONGEST_WAIT_OF_UNKNOWN };
        let keys = keys(person, address);
        let is_proven = tries.peek(&keys[0].0).is_some_and(|own| own.proven);
        // Who was right from there waits for what they do themselves alone.
        let counted = if is_proven { &keys[..1] } else { &keys[..] };
        let waits = counted
            .iter()
            .map(|(key, free)| tries.peek(key).map_or(Duration::ZERO, |it| it.wait(*free, longest, now)));
        let wait = waits.max().unwrap_or_default();
        if wait.is_zero() {
            keys.into_iter().for_each(|(key, _)| count(&mut tries, key, now));
        }
        wait
    }

    /// Forgets the wrong tries of somebody who has proven to be that person.
    pub fn forgive(&self, person: &str, address: Option<Address>) {
        self.take_back(person, address);
        if let Some(own) = locked(&self.tries).get_mut(&keys(person, address)[0].0) {
            *own = Tries { wrong: 0, proven: true, ..*own };
        }
        locked(&self.codes).pop(person);
    }

    /// A try that was looked at came to something else than being wrong.
    pub fn take_back(&self, person: &str, address: Option<Address>) {
        let mut tries = locked(&self.tries);
        for (key, _) in keys(person, address) {
            if let Some(counted) = tries.get_mut(&key) {
                counted.wrong = counted.wrong.saturating_sub(1);
            }
        }
    }

    /// How long somebody who has proven their password has to wait before a code of theirs is looked at. It counts as wrong
    /// until [`Throttle::forgive`].
    pub fn try_code(&self, person: &str, now: Instant) -> Duration {
        let mut codes = locked(&self.codes);
        let wait = codes.peek(person).map_or(Duration::ZERO, |it| it.wait(FREE_CODES, LONGEST_WAIT, now));
        if wait.is_zero() {
            count(&mut codes, person.to_owned(), now);
        }
        wait
    }
}

/// What a try is counted by, and what of it costs nothing; the pair first.
fn keys(person: &str, address: Option<Address>) -> Vec<(Key, u32)> {
    let from = address.map(source);
    let mut keys = vec![(Key::Pair(person.to_owned(), from), FREE), (Key::Source(from), FREE_OF_SOURCE)];
    if let Some(IpAddr::V6(address)) = from {
        let site = u128::from(address) & (u128::MAX << (128 - SITE));
        keys.push((Key::Site(site.into()), FREE_OF_SITE));
    }
    keys
}

fn locked<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
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

fn count<K: std::hash::Hash + Eq>(tries: &mut LruCache<K, Tries>, key: K, now: Instant) {
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
    fn a_site_that_goes_through_its_sources_waits_too() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..300 {
            let address = at(&format!("2001:db8:1:{number:x}::1"));
            assert!(throttle.try_now("alice", address, now).is_zero());
        }
        assert!(!throttle.try_now("alice", at("2001:db8:1:ffff::1"), now).is_zero());
        assert!(throttle.try_now("alice", at("2001:db8:2:1::1"), now).is_zero());
    }

    #[test]
    fn what_was_not_wrong_costs_nobody_anything() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..200 {
            assert!(throttle.try_now("alice", at(HERE), now).is_zero());
            throttle.take_back("alice", at(HERE));
        }
        for _ in 0..4 {
            assert!(throttle.try_now("alice", at(HERE), now).is_zero());
        }
        throttle.take_back("alice", at(HERE));
        assert!(throttle.try_now("alice", at(HERE), now).is_zero());
        assert!(throttle.try_now("alice", at(HERE), now).is_zero());
        assert!(!throttle.try_now("alice", at(HERE), now).is_zero(), "what was wrong before still counts");
    }

    #[test]
    fn codes_are_guessed_slowly_wherever_they_come_from() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..5 {
            assert!(throttle.try_code("alice", now).is_zero());
        }
        assert_eq!(throttle.try_code("alice", now), seconds(30));
        assert!(throttle.try_code("bob", now).is_zero());
        throttle.forgive("alice", at(HERE));
        assert!(throttle.try_code("alice", now).is_zero());
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
        for number in 0..140_000u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(number)).into();
            throttle.try_now("alice", Some(address), now);
        }
        assert_eq!(throttle.tries.lock().unwrap().len(), MOST.get());
    }
}
