//! What many want a part of, and no source more of it than its share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many parts each source has, and how many it may have.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    most: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A part, which goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    source: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Shares {
    /// So many parts for each source.
    pub(crate) fn of(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// One part more for this source; `None`: it has its share.
    pub(crate) fn part(&self, source: IpAddr) -> Option<Part> {
        let mut sources = locked(&self.taken);
        let taken = sources.entry(source).or_default();
        if *taken == self.most {
            return None;
        }
        *taken += 1;
        Some(Part { source, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut sources = locked(&self.taken);
        if let Some(taken) = sources.get_mut(&self.source) {
            *taken -= 1;
            if *taken == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_share_and_gets_back_what_it_gives_back() {
        let shares = Shares::of(3);
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut parts: Vec<_> = (0..3).map(|_| shares.part(one).unwrap()).collect();
        assert!(shares.part(one).is_none());
        assert!(shares.part(other).is_some());
        parts.pop();
        assert!(shares.part(one).is_some());
        drop(parts);
        assert!(locked(&shares.taken).is_empty(), "who has none is forgotten");
    }
}
