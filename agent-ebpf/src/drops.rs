//! How much of a session was dropped.

use crate::Nanoseconds;

/// What the kernel counts for one session: packets dropped, packets that audit let pass, and when.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drops {
    dropped: u64,
    overruled: u64,
    first: Nanoseconds,
    last: Nanoseconds,
}

const _: () = assert!(size_of::<Drops>() == 32);

/// How many devices have their drops counted each for itself; of more, some share a place.
pub const DEVICES: u32 = 4096;

/// The place of a device, by its index, in `DEVICE_DROPS`.
#[inline(always)]
pub const fn device_slot(index: u32) -> u32 {
    index % DEVICES
}

impl Drops {
    /// Nothing yet.
    pub const fn none() -> Self {
        Self { dropped: 0, overruled: 0, first: 0, last: 0 }
    }

    /// Packets dropped.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Packets that would have been dropped and passed because of audit mode.
    pub const fn overruled(&self) -> u64 {
        self.overruled
    }

    /// When the first of either was seen; `None` if there was none.
    pub const fn first(&self) -> Option<Nanoseconds> {
        if self.dropped | self.overruled == 0 { None } else { Some(self.first) }
    }

    /// When the last of either was seen; `None` if there was none.
    pub const fn last(&self) -> Option<Nanoseconds> {
        if self.dropped | self.overruled == 0 { None } else { Some(self.last) }
    }

    /// The byte offset of the count that a drop, or an overruled one, adds to; the kernel adds there atomically.
    pub const fn count_at(overruled: bool) -> usize {
        if overruled { core::mem::offset_of!(Self, overruled) } else { core::mem::offset_of!(Self, dropped) }
    }

    /// Remembers when. Concurrent writers may overwrite each other with times that are equally good.
    pub const fn seen(&mut self, now: Nanoseconds) {
        if self.first == 0 {
            self.first = now;
        }
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_anything_is_counted_the_first_and_the_last_time_are_known() {
        for (dropped, overruled) in [(1, 0), (0, 1), (2, 2)] {
            let mut drops = Drops { dropped, overruled, ..Drops::none() };
            drops.seen(5);
            drops.seen(9);
            assert_eq!((drops.dropped(), drops.overruled()), (dropped, overruled));
            assert_eq!((drops.first(), drops.last()), (Some(5), Some(9)));
        }
    }
}
