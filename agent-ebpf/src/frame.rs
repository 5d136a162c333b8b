//! The bytes that packets are found in.

use crate::{Found, Step};

/// No header that is read begins behind this offset: extension headers are bounded. The verifier wants it below 64 KiB.
pub const FARTHEST: usize = 0x7fff;

/// Read access to the bytes of a frame.
pub trait Frame {
    /// The `N` bytes from offset `at`, at least two; `None` if the frame ends before.
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// The same of a packet that ends at `end`: what lies behind that is not read.
    #[inline(always)]
    fn read_before<const N: usize>(&self, at: usize, end: usize) -> Option<[u8; N]> {
        if at + N > end { None } else { self.read(at) }
    }

    /// The eight bytes from offset `at` as they lie in memory; `None` if the frame ends before.
    #[inline(always)]
    fn word(&self, at: usize) -> Option<u64> {
        self.read(at).map(u64::from_ne_bytes)
    }

    /// The same number, of at most [`FARTHEST`], with the way forgotten that led to it. The kernel's verifier follows each
    /// combination of headers separately through all that comes after, unless it can no longer tell them apart.
    #[inline(always)]
    fn forget(&self, number: u16) -> u16 {
        number
    }

    // Loops over what packets carry; the kernel's verifier is to walk them only once, whatever the way to them.

    /// Answered by [`Found::behind_extensions`].
    #[inline(always)]
    fn behind_extensions(&self, next: u8, at: usize, end: usize) -> Found {
        Found::behind_extensions(self, next, at, end)
    }

    /// Answered by [`Step::of`].
    #[inline(always)]
    fn step(&self, at: usize, end: usize) -> Step {
        Step::of(self, at, end)
    }
}

impl Frame for [u8] {
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk().copied()
    }
}
