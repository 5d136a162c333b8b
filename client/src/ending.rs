//! Signals that end a command before it is done.
//!
//! Where nobody listens they end the process by themselves, and those that it was started to ignore, it ignores. Whoever has
//! to put something back first, as a question does, listens; and since tokio then catches them for the rest of the process's
//! life, somebody has to listen from there on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that ended something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Ended {
    /// Its number.
    pub signal: i32,
}

impl Ended {
    /// What a process ends with that ends by it, as shells have it.
    pub fn code(self) -> u8 {
        u8::try_from(128 + self.signal).unwrap_or(u8::MAX)
    }
}

/// Listens to all of them.
#[derive(Debug)]
pub struct Endings([(SignalKind, Signal); 4]);

impl Endings {
    /// Catches them from here on.
    ///
    /// # Errors
    /// That they cannot be caught.
    pub fn listen() -> io::Result<Self> {
        let listen = |kind| Ok::<_, io::Error>((kind, signal(kind)?));
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
            listen(SignalKind::quit())?,
        ]))
    }

    /// Waits for one.
    pub async fn next(&mut self) -> Ended {
        let [(int, one), (term, two), (hup, three), (quit, four)] = &mut self.0;
        let kind = tokio::select! {
            _ = one.recv() => int,
            _ = two.recv() => term,
            _ = three.recv() => hup,
            _ = four.recv() => quit,
        };
        Ended { signal: kind.as_raw_value() }
    }

    /// Does something, unless one of them comes before it is done.
    ///
    /// # Errors
    /// Which came.
    pub async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::select! {
            done = work => Ok(done),
            ended = self.next() => Err(ended),
        }
    }
}
