//! What holds for the node as a whole, and penalties on strangers.

use crate::{Mode, NEVER, Nanoseconds};

/// The node's mode, and the mode that it goes back to by itself at a set time (`mode enforce --confirm-within`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    fallback_at: Nanoseconds,
    mode: u8,
    fallback: u8,
    _reserved: [u8; 22],
}

const _: () = assert!(size_of::<Node>() == 32);

impl Node {
    /// A node that stays in `mode`.
    pub const fn in_mode(mode: Mode) -> Self {
        Self { fallback_at: NEVER, mode: mode as u8, fallback: mode as u8, _reserved: [0; 22] }
    }

    /// A node that is in `mode` until `at` and in `fallback` from then on.
    pub const fn until(mode: Mode, at: Nanoseconds, fallback: Mode) -> Self {
        Self { fallback_at: at, mode: mode as u8, fallback: fallback as u8, _reserved: [0; 22] }
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
