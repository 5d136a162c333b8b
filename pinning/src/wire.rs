//! A cursor over SSH's wire format (RFC 4251, section 5): it checks, then advances.

/// The data ended early, or what should be a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truncated;

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_be_bytes)
    }

    /// A `string`: four bytes of length, then as many bytes.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Truncated> {
        let len = usize::try_from(self.u32()?).ok();
        let (head, rest) = len.and_then(|len| self.0.split_at_checked(len)).ok_or(Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// A `string` that is UTF-8 and, as OpenSSH demands of names, holds no NUL.
    pub(crate) fn text(&mut self) -> Result<&'a str, Truncated> {
        let text = std::str::from_utf8(self.string()?).ok();
        text.filter(|text| !text.contains('\0')).ok_or(Truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order() {
        let mut cursor = Cursor::new(b"\0\0\0\x02hi\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0");
        assert_eq!(cursor.text(), Ok("hi"));
        assert_eq!(cursor.u32(), Ok(1));
        assert_eq!(cursor.u64(), Ok(2));
        assert_eq!(cursor.len(), 4);
        assert_eq!(cursor.string(), Ok(&b""[..]));
        assert!(cursor.is_empty());
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        for bytes in [&b""[..], b"\0\0\0", b"\0\0\0\x02h", b"\xff\xff\xff\xff"] {
            assert_eq!(Cursor::new(bytes).string(), Err(Truncated), "{bytes:?}");
        }
        assert_eq!(Cursor::new(b"\0\0\0\x01\xff").text(), Err(Truncated));
        assert_eq!(Cursor::new(b"\0\0\0\x01\0").text(), Err(Truncated));
        assert_eq!(Cursor::new(b"\0\0\0\0\0\0\0").u64(), Err(Truncated));
    }
}
