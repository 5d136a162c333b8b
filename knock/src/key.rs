//! The keys that tell a made-up knock from others before any signature is looked at.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding};
use ring::{digest, hmac};
use zeroize::Zeroizing;

/// Bytes of a secret or key.
const LEN: usize = 32;
/// What a fleet's secret makes of this is a key for knocks and nothing else.
const DOMAIN: &[u8] = b"cotter knock key 1\0";

/// What the nodes of a fleet and its authority share: 32 random bytes. Whoever has it can make up knocks that cost a node
/// a signature check, and nothing worse.
///
/// As text, in its file, it is one line of base64, as `openssl rand -base64 32` prints it.
pub struct FleetSecret(Zeroizing<[u8; LEN]>);

/// The key of one certificate's knocks; the authority hands it out with the certificate.
///
/// As text it is base64.
pub struct KnockKey(Zeroizing<[u8; LEN]>);

/// Why a text is no secret and no key. It shows nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is more than one line.
    #[error("it has more than one line; it is to be one, of 44 characters of base64")]
    Lines,
    /// It is no base64.
    #[error(
        "its {0} characters are not the 44 of base64 for 32 bytes, such as `openssl rand -base64 32` prints"
    )]
    Base64(usize),
}

impl FleetSecret {
    /// One of these bytes, which are to be random.
    pub fn new(bytes: [u8; LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key for the knocks of the certificate that has these bytes.
    pub fn key_for(&self, certificate: &[u8]) -> KnockKey {
        let mut under = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]));
        under.update(DOMAIN);
        under.update(digest::digest(&digest::SHA256, certificate).as_ref());
        let mut key = Zeroizing::new([0; LEN]);
        key.copy_from_slice(under.sign().as_ref());
        KnockKey(key)
    }

    /// As it stands in its file, without the line's end.
    pub fn to_text(&self) -> Zeroizing<String> {
        text(&self.0)
    }
}

impl KnockKey {
    /// As it is handed out.
    pub fn to_text(&self) -> Zeroizing<String> {
        text(&self.0)
    }

    pub(crate) fn mac(&self, covered: &[u8]) -> [u8; LEN] {
        let mut mac = [0; LEN];
        mac.copy_from_slice(hmac::sign(&self.hmac(), covered).as_ref());
        mac
    }

    /// Compares in constant time.
    pub(crate) fn holds(&self, covered: &[u8], mac: &[u8; LEN]) -> bool {
        hmac::verify(&self.hmac(), covered, mac).is_ok()
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0[..])
    }
}

impl FromStr for FleetSecret {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse(text).map(Self)
    }
}

impl FromStr for KnockKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse(text).map(Self)
    }
}

impl fmt::Debug for FleetSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FleetSecret(…)")
    }
}

impl fmt::Debug for KnockKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KnockKey(…)")
    }
}

fn text(bytes: &[u8; LEN]) -> Zeroizing<String> {
    Zeroizing::new(Base64::encode_string(bytes))
}

fn parse(text: &str) -> Result<Zeroizing<[u8; LEN]>, KeyError> {
    let line = text.trim();
    if line.contains('\n') {
        return Err(KeyError::Lines);
    }
    let mut bytes = Zeroizing::new([0; LEN]);
    match Base64::decode(line, &mut bytes[..]) {
        Ok(decoded) if decoded.len() == LEN => Ok(bytes),
        Ok(_) | Err(_) => Err(KeyError::Base64(line.chars().count())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_line_of_base64() {
        let secret = FleetSecret::new([7; LEN]);
        let line = secret.to_text();
        for text in [line.to_string(), format!("{}\n", *line), format!(" {}\r\n\n", *line)] {
            assert_eq!(text.parse::<FleetSecret>().unwrap().0, secret.0);
        }
    }

    #[test]
    fn what_is_none_is_refused_and_not_shown() {
        let line = FleetSecret::new([7; LEN]).to_text();
        for text in ["", "c2VjcmV0", &line[..43], &format!("{}AAAA", *line), &line.replace('B', "!")] {
            let error = text.parse::<FleetSecret>().unwrap_err();
            assert_eq!(error, KeyError::Base64(text.len()));
            assert!(text.is_empty() || !error.to_string().contains(text));
        }
        assert_eq!(format!("{}\n{}", *line, *line).parse::<KnockKey>().unwrap_err(), KeyError::Lines);
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let secret = FleetSecret::new([7; LEN]);
        assert_eq!(format!("{secret:?} {:?}", secret.key_for(b"")), "FleetSecret(…) KnockKey(…)");
    }

    #[test]
    fn each_certificate_has_a_key_of_its_own_in_each_fleet() {
        let (one, other) = (FleetSecret::new([7; LEN]), FleetSecret::new([8; LEN]));
        assert_eq!(one.key_for(b"alice").0, one.key_for(b"alice").0);
        assert_ne!(one.key_for(b"alice").0, one.key_for(b"bob").0);
        assert_ne!(one.key_for(b"alice").0, other.key_for(b"alice").0);
        assert_eq!(one.key_for(b"alice").to_text().parse::<KnockKey>().unwrap().0, one.key_for(b"alice").0);
    }

    /// So that no version of a node or authority makes other keys than the rest of its fleet:
    /// `printf 'cotter knock key 1\0'; printf alice | openssl dgst -sha256 -binary`, through
    /// `openssl dgst -sha256 -mac hmac -macopt hexkey:0707… -binary | base64`.
    #[test]
    fn a_key_is_what_it_always_was() {
        assert_eq!(
            *FleetSecret::new([7; LEN]).key_for(b"alice").to_text(),
            "bydmxuO7yXkFLHHuuO15iZkeN6wHmp6UXaQo1pFyFhw="
        );
    }
}
