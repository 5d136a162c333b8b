//! Counts denied logins by source, so that one that keeps trying is kept out for a while.

use crate::config::Penalties;
use crate::source::source;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// Most sources that are counted; while the table is full, new ones are not.
const MAX_SOURCES: usize = 4096;

/// Denials of the recent past.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    sources: HashMap<IpAddr, Count>,
}

#[derive(Debug)]
struct Count {
    began: Instant,
    denials: u32,
}

impl Denials {
    /// Counts one denial; true if the source has now earned a penalty, after which it starts from zero.
    pub(crate) fn count(&mut self, address: IpAddr, rule: Penalties, now: Instant) -> bool {
        let source = source(address);
        if self.sources.len() >= MAX_SOURCES {
            self.sources.retain(|_, count| now.duration_since(count.began) < rule.within);
        }
        if rule.denials == 0 || (self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source)) {
            return false;
        }
        let count = self.sources.entry(source).or_insert(Count { began: now, denials: 0 });
        if now.duration_since(count.began) >= rule.within {
            *count = Count { began: now, denials: 0 };
        }
        count.denials += 1;
        let earned = count.denials >= rule.denials;
        if earned {
            self.sources.remove(&source);
        }
        earned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RULE: Penalties =
        Penalties { denials: 3, within: Duration::from_secs(60), lasting: Duration::from_secs(60) };

    fn earned(addresses: &[&str]) -> Vec<bool> {
        let (mut denials, now) = (Denials::default(), Instant::now());
        addresses.iter().map(|address| denials.count(address.parse().unwrap(), RULE, now)).collect()
    }

    #[test]
    fn the_third_denial_earns_a_penalty_and_the_count_starts_again() {
        assert_eq!(earned(&["192.0.2.1"; 6]), [false, false, true, false, false, true]);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together_and_others_apart() {
        assert_eq!(earned(&["2001:db8::1", "2001:db8::2", "2001:db8::3"]), [false, false, true]);
        assert_eq!(earned(&["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "192.0.2.3"]), [false; 4]);
    }

    #[test]
    fn denials_far_apart_earn_nothing() {
        let (mut denials, mut now) = (Denials::default(), Instant::now());
        for _ in 0..9 {
            assert!(!denials.count("192.0.2.1".parse().unwrap(), RULE, now));
            now += Duration::from_secs(31);
        }
    }
}
