//! What holds for the node as a whole, and penalties on strangers.

use crate::{Mode, NEVER, Nanoseconds};

/// The node's mode, and the mode that it goes back to by itself at a set time (`mode enforce --confirm-within`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    fallback_at: Nanoseconds,
    mode: u8,
    fallback: u8,
    _padding: [u8; 6],
    network: u64,
    _reserved: [u8; 8],
}

const _: () = assert!(size_of::<Node>() == 32);

impl Node {
    /// A node that stays in `mode`.
    pub const fn in_mode(mode: Mode) -> Self {
        Self::until(mode, NEVER, mode)
    }

    /// A node that is in `mode` until `at` and in `fallback` from then on.
    pub const fn until(mode: Mode, at: Nanoseconds, fallback: Mode) -> Self {
        let (mode, fallback) = (mode as u8, fallback as u8);
        Self { fallback_at: at, mode, fallback, _padding: [0; 6], network: 0, _reserved: [0; 8] }
    }

    /// One of which nothing is known.
    pub const fn unknown() -> Self {
        Self::in_mode(Mode::Off).not_yet()
    }

    /// The same, of which nothing is known yet.
    #[must_use]
    pub const fn not_yet(self) -> Self {
        Self { fallback_at: 0, ..self }
    }

    /// Whether anything is known of it: nobody goes back to another mode at the beginning of time.
    #[inline(always)]
    pub const fn is_known(&self) -> bool {
        self.fallback_at != 0
    }

    /// The same node, whose network namespace has this cookie (`SO_NETNS_COOKIE`, kernel 5.14).
    pub const fn in_network(self, cookie: u64) -> Self {
        Self { network: cookie, ..self }
    }

    /// Whether a network namespace, by its cookie, is the node's own.
    #[inline(always)]
    pub const fn is_network(&self, cookie: u64) -> bool {
        self.network != 0 && self.network == cookie
    }

    /// The mode that counts; `now` is asked only if the mode may change by itself.
    #[inline(always)]
    pub fn mode(&self, now: impl FnOnce() -> Nanoseconds) -> Mode {
        if self.fallback_at != NEVER && self.fallback_at <= now() {
            return Mode::from_byte(self.fallback);
        }
        Mode::from_byte(self.mode)
    }

    /// When the node goes back, and to which mode, if it has not been confirmed.
    pub fn fallback(&self) -> Option<(Nanoseconds, Mode)> {
        (self.fallback_at != NEVER).then(|| (self.fallback_at, Mode::from_byte(self.fallback)))
    }
}

/// Until when new connections of a source are dropped.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Penalty {
    until: Nanoseconds,
}

const _: () = assert!(size_of::<Penalty>() == 8);

impl Penalty {
    /// A penalty that ends at `until`.
    pub const fn until(until: Nanoseconds) -> Self {
        Self { until }
    }

    /// When it ends.
    pub const fn end(self) -> Nanoseconds {
        self.until
    }

    /// Whether it is over.
    #[inline(always)]
    pub const fn is_over(&self, now: Nanoseconds) -> bool {
        self.until <= now
    }
}
