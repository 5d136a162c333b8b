//! The bytes of a message: a fixed header, then fields that each carry their length.

use super::ProtocolError;

/// What every message begins with; no other protocol on a Unix socket looks like it.
const MAGIC: [u8; 4] = *b"CTTR";

/// The version this build speaks. It takes messages of one version up or down.
pub const VERSION: u8 = 1;

/// Bytes of the header: magic (4), version (1), kind (1), zero (2), total length (4, big-endian).
pub const HEADER_LEN: usize = 12;

/// The most bytes that a message may have, header included.
pub const MAX_LEN: usize = 64 * 1024;

/// The parsed header of a message. Its layout is the same in every version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The version of the protocol that the sender speaks.
    pub version: u8,
    /// Which request or reply the body holds.
    pub kind: u8,
    /// Bytes that follow the header; never more than [`MAX_LEN`] allows.
    pub body_len: usize,
}

impl Header {
    /// Parses a header and checks its bounds, so that a body of `body_len` bytes is safe to allocate.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, ProtocolError> {
        let [m0, m1, m2, m3, version, kind, _, _, l0, l1, l2, l3] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(ProtocolError::NotOurs);
        }
        if version.abs_diff(VERSION) > 1 {
            return Err(ProtocolError::Version { theirs: version });
        }
        let total = u32::from_be_bytes([l0, l1, l2, l3]);
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        if total > MAX_LEN {
            return Err(ProtocolError::TooLong { len: total });
        }
        let body_len = total.checked_sub(HEADER_LEN).ok_or(ProtocolError::Truncated)?;
        Ok(Self { version, kind, body_len })
    }
}

/// Builds one message, field after field.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(kind: u8) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, kind, 0, 0, 0, 0, 0, 0]);
        Self { bytes }
    }

    pub(super) fn bytes(mut self, field: &[u8]) -> Self {
        // A field that does not fit in a u32 does not fit in MAX_LEN either; `finish` refuses the message.
        let len = u32::try_from(field.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(field);
        self
    }

    pub(super) fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// A number, or nothing as an empty field.
    pub(super) fn number(self, field: Option<u64>) -> Self {
        match field {
            Some(number) => self.bytes(&number.to_be_bytes()),
            None => self.bytes(&[]),
        }
    }

    pub(super) fn flag(self, field: bool) -> Self {
        self.bytes(&[u8::from(field)])
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, ProtocolError> {
        let len = self.bytes.len();
        if len > MAX_LEN {
            return Err(ProtocolError::TooLong { len });
        }
        let total = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        self.bytes.splice(HEADER_LEN - total.len()..HEADER_LEN, total);
        Ok(self.bytes)
    }
}

/// Takes the fields of a body off its front. What nobody asks for stays unread: a newer sender's additions.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], ProtocolError> {
        let (len, rest) = self.rest.split_first_chunk().ok_or(ProtocolError::Truncated)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
        let (field, rest) = rest.split_at_checked(len).ok_or(ProtocolError::Truncated)?;
        self.rest = rest;
        Ok(field)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<String, ProtocolError> {
        let field = self.bytes()?;
        match std::str::from_utf8(field) {
            Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
            Ok(_) | Err(_) => Err(ProtocolError::Field { name }),
        }
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<u64>, ProtocolError> {
        match *self.bytes()? {
            [] => Ok(None),
            [a, b, c, d, e, f, g, h] => Ok(Some(u64::from_be_bytes([a, b, c, d, e, f, g, h]))),
            _ => Err(ProtocolError::Field { name }),
        }
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, ProtocolError> {
        match self.bytes()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(ProtocolError::Field { name }),
        }
    }
}
