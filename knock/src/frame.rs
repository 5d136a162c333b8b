//! A knock over TCP: its length in two bytes before it.

use crate::{MAX_KNOCK, Malformed};

/// How many bytes of length stand before a knock over TCP.
pub const FRAME_HEADER: usize = 2;

/// How many bytes of knock come behind this header.
///
/// # Errors
/// [`Malformed::Long`]: nobody needs to read more.
pub fn frame_len(header: [u8; FRAME_HEADER]) -> Result<usize, Malformed> {
    match usize::from(u16::from_be_bytes(header)) {
        len if len > MAX_KNOCK => Err(Malformed::Long),
        len => Ok(len),
    }
}

pub(crate) fn frame(knock: &[u8]) -> Vec<u8> {
    // No knock is made that is longer than MAX_KNOCK.
    let len = u16::try_from(knock.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], knock].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_says_what_follows_and_has_an_end() {
        assert_eq!(frame(b"abc"), b"\0\x03abc");
        assert_eq!(frame_len([0, 3]), Ok(3));
        assert_eq!(frame_len([0x20, 0]), Ok(MAX_KNOCK));
        assert_eq!(frame_len([0x20, 1]), Err(Malformed::Long));
        assert_eq!(frame_len([0xff, 0xff]), Err(Malformed::Long));
    }
}
