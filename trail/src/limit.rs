//! At most so many denials, or drops, a source and minute are reported one by one; the rest are counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many of one source are reported one by one within a window.
const REPORTED: u64 = 5;
/// The window.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Most sources that a summary names one by one.
const SUMMED_UP: usize = 500;
/// Most sources that are told apart; beyond, they share one budget.
const MAX_SOURCES: usize = 4096;

/// Counts by source, bounded in memory whatever strangers do.
#[derive(Debug, Default)]
pub struct SourceLimit {
    sources: HashMap<Option<IpAddr>, Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    seen: u64,
}

impl SourceLimit {
    /// Counts one of a source, which is an IPv4 address or begins the /64 of an IPv6 address; true if it is to be
    /// reported by itself.
    pub fn admit(&mut self, source: Option<IpAddr>, now: Instant) -> bool {
        let known = self.sources.contains_key(&source);
        let key = if known || self.sources.len() < MAX_SOURCES { source } else { None };
        let window = self.sources.entry(key).or_insert(Window { began: now, seen: 0 });
        window.seen += 1;
        window.seen <= REPORTED
    }

    /// Ends the windows that are over: each source with how many went unreported, if any did.
    pub fn summaries(&mut self, now: Instant) -> Vec<(Option<IpAddr>, u64)> {
        let mut unreported = Vec::new();
        self.sources.retain(|source, window| {
            let over = now.duration_since(window.began) >= WINDOW;
            if over && window.seen > REPORTED {
                unreported.push((*source, window.seen - REPORTED));
            }
            !over
        });
        unreported
    }
}

/// The sources with most, and all the others together as one of unknown address.
#[must_use]
pub fn largest(mut counts: Vec<(Option<IpAddr>, u64)>) -> Vec<(Option<IpAddr>, u64)> {
    counts.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rest: u64 = counts.iter().skip(SUMMED_UP).map(|(_, count)| count).sum();
    counts.truncate(SUMMED_UP);
    counts.extend((rest > 0).then_some((None, rest)));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(last: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + last)))
    }

    #[test]
    fn five_denials_a_minute_are_reported_and_the_rest_is_counted() {
        let (mut limit, start) = (SourceLimit::default(), Instant::now());
        let reported = (0..12).filter(|_| limit.admit(address(1), start)).count();
        assert_eq!(reported, 5);
        assert!(limit.summaries(start).is_empty());
        assert_eq!(limit.summaries(start + WINDOW), [(address(1), 7)]);
        assert!(limit.admit(address(1), start + WINDOW));
    }

    #[test]
    fn the_largest_are_named_and_no_count_is_lost() {
        let counts: Vec<_> = (0..1000).map(|last| (address(last), u64::from(last) + 1)).collect();
        let summed_up = largest(counts);
        assert_eq!((summed_up.len(), summed_up[0]), (SUMMED_UP + 1, (address(999), 1000)));
        assert_eq!(summed_up.last(), Some(&(None, 500 * 501 / 2)));
        assert_eq!(largest(vec![(address(1), 7)]), [(address(1), 7)]);
    }

    #[test]
    fn strangers_cannot_make_it_remember_without_bound() {
        let (mut limit, start) = (SourceLimit::default(), Instant::now());
        for last in 0..100_000 {
            limit.admit(address(last), start);
        }
        assert!(limit.sources.len() <= MAX_SOURCES + 1);
    }
}
