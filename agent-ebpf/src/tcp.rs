//! What a TCP segment does to its connection, as far as that must be known of connections of no session.

use crate::Frame;

/// The length in bytes of a TCP header without options (RFC 9293, 3.1).
const HEADER: usize = 20;

/// What a TCP segment does to its connection.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// It asks for a new one: SYN without ACK.
    Open,
    /// It asks for a further subflow of a multipath connection: a SYN with the option `MP_JOIN`.
    Join,
    /// Anything else.
    Continue,
    /// Its flags lie behind the packet's end, or those of a SYN do not but the end of its header does.
    Unreadable,
}

impl Step {
    /// The same as a number.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The step of this number; [`Step::Unreadable`] of any other.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        const OPEN: u32 = Step::Open.number();
        const JOIN: u32 = Step::Join.number();
        const CONTINUE: u32 = Step::Continue.number();

        match number {
            OPEN => Self::Open,
            JOIN => Self::Join,
            CONTINUE => Self::Continue,
            _ => Self::Unreadable,
        }
    }

    /// What the segment at this offset does, of a packet that ends at `end`.
    #[inline(always)]
    pub fn of<F: Frame + ?Sized>(frame: &F, at: usize, end: usize) -> Self {
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;

        let Some([offset, flags]) = frame.read_before(at + 12, end) else { return Self::Unreadable };
        if flags & (SYN | ACK) != SYN {
            return Self::Continue;
        }
        let length = usize::from(offset >> 4) * 4;
        if length < HEADER || frame.read_before::<2>(at + length - 2, end).is_none() {
            return Self::Unreadable;
        }
        if joins_multipath(frame, at, length, end) { Self::Join } else { Self::Open }
    }
}

/// Whether there is an option `MP_JOIN` (RFC 8684, 3.2) in the TCP header at this offset and of this length.
#[inline(always)]
fn joins_multipath<F: Frame + ?Sized>(frame: &F, at: usize, length: usize, end: usize) -> bool {
    const END: u8 = 0;
    const PADDING: u8 = 1;
    const MPTCP: u8 = 30;
    const MP_JOIN: u8 = 1;

    let mut option = HEADER;
    // Of 40 bytes of options there are at most 40; the shortest MP_JOIN takes more than three.
    for _ in 0..40 {
        if option + 3 > length {
            return false;
        }
        let Some([kind, length, subtype]) = frame.read_before(at + option, end) else { return false };
        option += match (kind, length) {
            (END, _) => return false,
            (PADDING, _) => 1,
            (_, 0 | 1) => return false,
            (MPTCP, _) if subtype >> 4 == MP_JOIN => return true,
            (_, length) => usize::from(length),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_the_same_after_it_was_a_number() {
        for step in [Step::Open, Step::Join, Step::Continue, Step::Unreadable] {
            assert_eq!(Step::from_number(step.number()), step);
        }
        assert_eq!(Step::from_number(u32::MAX), Step::Unreadable);
    }
}
