//! The connections that are known to be relayed, each as long as somebody who has told of it is there.

use super::lock;
use crate::connections::Connection;
use crate::relay::Via;
use pinning::How;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

/// Both ends of a connection to sshd within the node: the user's, sshd's.
pub(super) type Inner = (SocketAddr, SocketAddr);

/// A balancer's or bastion's connection, and how it is known whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    /// The balancer's or bastion's connection.
    pub(crate) outer: Connection,
    /// How its user's address was observed.
    pub(crate) how: How,
    /// The bastions that its user came through.
    pub(crate) via: Option<Via>,
}

/// All of them. One may be told of several times at once: by a process that has given up waiting for an answer, and by the same
/// once more.
#[derive(Debug, Default)]
pub(super) struct AllCarried {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    by_inner: HashMap<Inner, Vec<(u64, Carried)>>,
    /// Of the next one that is told.
    number: u64,
}

/// One that is known until this is dropped.
pub(super) struct Known<'a> {
    all: &'a AllCarried,
    inner: Inner,
    number: u64,
}

impl AllCarried {
    /// Remembers one.
    pub(super) fn remember(&self, inner: Inner, carried: Carried) -> Known<'_> {
        let mut told = lock(&self.told);
        let number = told.number;
        told.number += 1;
        told.by_inner.entry(inner).or_default().push((number, carried));
        Known { all: self, inner, number }
    }

    /// What was told last of this one.
    pub(super) fn get(&self, inner: &Inner) -> Option<Carried> {
        lock(&self.told).by_inner.get(inner)?.last().map(|(_, carried)| carried.clone())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        lock(&self.told).by_inner.len()
    }
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        let by_inner = &mut lock(&self.all.told).by_inner;
        if let Some(told) = by_inner.get_mut(&self.inner) {
            told.retain(|(number, _)| *number != self.number);
            if told.is_empty() {
                by_inner.remove(&self.inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_told_of_twice_is_known_until_both_are_gone() {
        let end = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let inner = (end(1), end(22));
        let outer = Connection { local: end(2222), peer: end(2), cookie: 7 };
        let carried = Carried { outer, how: How::Direct, via: None };
        let all = AllCarried::default();
        let given_up = all.remember(inner, carried.clone());
        let lives = all.remember(inner, carried.clone());
        drop(given_up);
        assert_eq!((all.get(&inner), all.count()), (Some(carried), 1));
        drop(lives);
        assert_eq!((all.get(&inner), all.count()), (None, 0));
    }
}
