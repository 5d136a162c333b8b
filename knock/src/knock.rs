//! A knock as it came: where its fields lie, and the questions that cost little.

use crate::{Fingerprint, FleetSecret, UnixMillis};

/// The longest knock that goes in a datagram: with the headers before it, and some that a tunnel adds, it fits in IPv6's
/// least MTU of 1280 bytes, so that it is never cut in pieces.
pub const MAX_DATAGRAM: usize = 1200;
/// The longest knock at all; larger certificates are nobody's.
pub const MAX_KNOCK: usize = 8 * 1024;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 16;

/// What a knock begins with; the last byte is the version.
const MAGIC: [u8; 7] = *b"ctknock";
const VERSION: u8 = 1;
const MAC_LEN: usize = 32;

/// Everything before the certificate's length.
pub(crate) const HEADER_LEN: usize = 64;
pub(crate) type Header = [u8; HEADER_LEN];

/// A whole knock. Nothing of it is true but that its fields add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knock<'a> {
    pub(crate) header: &'a Header,
    certificate: &'a [u8],
    signature: &'a [u8],
    /// All but the MAC.
    covered: &'a [u8],
    mac: &'a [u8; MAC_LEN],
}

/// Why bytes are no knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is longer than any.
    #[error("it is longer than {MAX_KNOCK} bytes")]
    Long,
    /// It does not begin as one.
    #[error("it is no knock")]
    Magic,
    /// It is of a version not known here.
    #[error("it is a knock of version {0}; known here is {VERSION}")]
    Version(u8),
    /// It ends early, or late.
    #[error("its fields do not add up")]
    Length,
}

impl<'a> Knock<'a> {
    /// Finds the fields. No more is looked at than lengths.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_KNOCK {
            return Err(Malformed::Long);
        }
        match bytes.split_first_chunk() {
            Some((magic, [VERSION, ..])) if *magic == MAGIC => {}
            Some((magic, [version, ..])) if *magic == MAGIC => return Err(Malformed::Version(*version)),
            _ => return Err(Malformed::Magic),
        }
        Self::fields(bytes).ok_or(Malformed::Length)
    }

    fn fields(bytes: &'a [u8]) -> Option<Self> {
        let (covered, mac) = bytes.split_last_chunk()?;
        let (header, rest) = covered.split_first_chunk()?;
        let (certificate, rest) = field(rest)?;
        let (signature, rest) = field(rest)?;
        rest.is_empty().then_some(Self { header, certificate, signature, covered, mac })
    }

    /// The host key of the node that it is for.
    pub fn node(&self) -> Fingerprint {
        Fingerprint(self.part::<8, 32>())
    }

    /// Whether it is for the node with this host key.
    pub fn is_for(&self, node: &Fingerprint) -> bool {
        self.node() == *node
    }

    /// When it was made, by its maker's clock.
    pub fn time(&self) -> UnixMillis {
        UnixMillis(u64::from_be_bytes(self.part::<40, 8>()))
    }

    /// What tells it from others of its time.
    pub fn nonce(&self) -> [u8; NONCE_LEN] {
        self.part::<48, NONCE_LEN>()
    }

    /// The certificate's bytes.
    pub fn certificate(&self) -> &'a [u8] {
        self.certificate
    }

    /// The proof, in SSH's encoding of signatures.
    pub fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// Whether somebody made its MAC who has the certificate's key for knocks in this fleet. One without a MAC is nobody's.
    pub fn mac_holds(&self, fleet: &FleetSecret) -> bool {
        self.has_mac() && fleet.key_for(self.certificate).holds(self.covered, self.mac)
    }

    /// Whether there is a MAC; one of zeros is none. A node without a secret has no use for it: the proof covers all the rest.
    pub fn has_mac(&self) -> bool {
        *self.mac != [0; MAC_LEN]
    }

    /// `LEN` bytes of the header from `AT`.
    fn part<const AT: usize, const LEN: usize>(&self) -> [u8; LEN] {
        const { assert!(AT + LEN <= HEADER_LEN) };
        std::array::from_fn(|at| self.header[AT + at])
    }
}

/// A field with its length in two bytes before it, and what follows.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

pub(crate) fn header(node: Fingerprint, time: UnixMillis, nonce: [u8; NONCE_LEN]) -> Header {
    let mut header = [0; HEADER_LEN];
    header[..7].copy_from_slice(&MAGIC);
    header[7] = VERSION;
    header[8..40].copy_from_slice(&node.0);
    header[40..48].copy_from_slice(&time.0.to_be_bytes());
    header[48..].copy_from_slice(&nonce);
    header
}

/// A knock of these fields, with a MAC if the function makes one of what it covers; `None` if it is too long.
pub(crate) fn assemble(
    header: &Header,
    certificate: &[u8],
    signature: &[u8],
    mac: impl FnOnce(&[u8]) -> Option<[u8; MAC_LEN]>,
) -> Option<Vec<u8>> {
    let mut knock = header.to_vec();
    for field in [certificate, signature] {
        knock.extend(u16::try_from(field.len()).ok()?.to_be_bytes());
        knock.extend(field);
    }
    let mac = mac(&knock).unwrap_or([0; MAC_LEN]);
    knock.extend(mac);
    (knock.len() <= MAX_KNOCK).then_some(knock)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Fingerprint = Fingerprint([9; 32]);
    const TIME: UnixMillis = UnixMillis(0x0102_0304_0506_0708);

    fn made(certificate: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
        assemble(&header(NODE, TIME, [3; 16]), certificate, signature, |_| None)
    }

    #[test]
    fn fields_lie_where_they_are_said_to() {
        let bytes = made(b"certificate", b"signature").unwrap();
        assert_eq!(bytes.len(), 100 + 11 + 9);
        assert_eq!(&bytes[..8], b"ctknock\x01");
        assert_eq!(bytes[40..48], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(&bytes[64..77], b"\0\x0bcertificate");
        assert_eq!(&bytes[77..88], b"\0\x09signature");
        let knock = Knock::parse(&bytes).unwrap();
        assert_eq!((knock.node(), knock.time(), knock.nonce()), (NODE, TIME, [3; 16]));
        assert_eq!((knock.certificate(), knock.signature()), (&b"certificate"[..], &b"signature"[..]));
        assert!(knock.is_for(&NODE) && !knock.is_for(&Fingerprint([8; 32])));
    }

    #[test]
    fn nothing_is_missing_and_nothing_is_left_over() {
        let mut bytes = made(b"certificate", b"signature").unwrap();
        for len in 0..bytes.len() {
            let expected = if len < 8 { Malformed::Magic } else { Malformed::Length };
            assert_eq!(Knock::parse(&bytes[..len]), Err(expected), "{len}");
        }
        bytes.push(0);
        assert_eq!(Knock::parse(&bytes), Err(Malformed::Length));
    }

    #[test]
    fn another_version_is_told_from_something_else() {
        let mut bytes = made(b"c", b"s").unwrap();
        bytes[7] = 2;
        assert_eq!(Knock::parse(&bytes), Err(Malformed::Version(2)));
        bytes[0] = b'C';
        assert_eq!(Knock::parse(&bytes), Err(Malformed::Magic));
    }

    #[test]
    fn there_is_a_longest_one() {
        let bytes = made(&vec![0; MAX_KNOCK - 101], b"s").unwrap();
        assert_eq!(bytes.len(), MAX_KNOCK);
        assert!(Knock::parse(&bytes).is_ok());
        assert_eq!(made(&vec![0; MAX_KNOCK - 100], b"s"), None);
        assert_eq!(made(&vec![0; 65_536], b"s"), None);
        assert_eq!(Knock::parse(&[&bytes[..], b"\0"].concat()), Err(Malformed::Long));
    }

    #[test]
    fn a_mac_holds_in_its_own_fleet_alone() {
        let (own, other) = (FleetSecret::new([1; 32]), FleetSecret::new([2; 32]));
        let key = own.key_for(b"certificate");
        let head = header(NODE, TIME, [3; 16]);
        let bytes = assemble(&head, b"certificate", b"s", |covered| Some(key.mac(covered))).unwrap();
        let knock = Knock::parse(&bytes).unwrap();
        assert!(knock.mac_holds(&own) && !knock.mac_holds(&other));
        // The key is another certificate's.
        let bytes = assemble(&head, b"another", b"s", |covered| Some(key.mac(covered))).unwrap();
        assert!(!Knock::parse(&bytes).unwrap().mac_holds(&own));
        // There is none.
        let bytes = made(b"certificate", b"s").unwrap();
        let knock = Knock::parse(&bytes).unwrap();
        assert!(!knock.has_mac() && !knock.mac_holds(&own));
    }
}
