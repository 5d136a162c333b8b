//! The authority's own statement of where it saw somebody: how a login over one family of addresses shows where the same
//! person is over the other.
//!
//! It names the address, the key that is to be certified and its end, and is signed with a secret that all authorities of
//! one storage share: whichever of them the login comes to can read it. Nothing is kept of one that was made, so strangers
//! cannot fill anything; of one that was used, its number is kept until its end.

use pinning::Observed;
use ring::hmac;
use serde::{Deserialize, Serialize};
use ssh_key::rand_core::{OsRng, RngCore};
use ssh_key::{HashAlg, PublicKey};

/// How long one counts, in seconds: people may still be typing.
const LIFETIME: u64 = 60;
/// Longest text that is read.
const LONGEST: usize = 2048;
/// What else might ever be signed with the secret begins with something else.
const CONTEXT: &[u8] = b"cotter: where somebody was seen, 1\n";

/// Why a statement does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not a word of this authority.
    #[error("it is not this authority's")]
    NotOurs,
    /// It is about a login with another key.
    #[error("it was made for another key")]
    OtherKey,
    /// It has come too late.
    #[error("it is over")]
    Over,
    /// It has come before.
    #[error("it was used before")]
    Used,
    /// It is about the same family of addresses as the login itself.
    #[error("it is about no other family of addresses than the login's own")]
    SameFamily,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Never used by another.
    pub id: String,
    /// Where, and how.
    pub observed: Observed,
    /// When it ends, Unix seconds.
    pub ends_at: u64,
    /// The fingerprint of the key to be certified.
    key: String,
}

/// Makes statements and reads them.
#[derive(Debug, Clone)]
pub struct Witness(hmac::Key);

impl Witness {
    /// One that signs with this secret.
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// States where somebody was seen at `now`, Unix seconds, who is to log in with this key.
    ///
    /// # Errors
    /// None that comes to pass: that it cannot be written as JSON.
    pub fn state(&self, observed: Observed, key: &PublicKey, now: u64) -> Result<String, serde_json::Error> {
        let mut id = [0; 16];
        OsRng.fill_bytes(&mut id);
        let statement = Statement {
            id: hex(&id),
            observed,
            ends_at: now.saturating_add(LIFETIME),
            key: fingerprint(key),
        };
        let text = serde_json::to_string(&statement)?;
        Ok(format!("{}.{text}", hex(hmac::sign(&self.0, &signed(&text)).as_ref())))
    }

    /// Reads one that came with a login with this key from `login`. That it was not used before is not its to say.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub fn read(
        &self,
        token: &str,
        key: &PublicKey,
        login: &Observed,
        now: u64,
    ) -> Result<Statement, StatementError> {
        let (tag, text) =
            token.split_once('.').filter(|_| token.len() <= LONGEST).ok_or(StatementError::NotOurs)?;
        let tag = unhex(tag).ok_or(StatementError::NotOurs)?;
        hmac::verify(&self.0, &signed(text), &tag).map_err(|_unspecified| StatementError::NotOurs)?;
        let statement: Statement = serde_json::from_str(text).map_err(|_not_ours| StatementError::NotOurs)?;
        if statement.key != fingerprint(key) {
            return Err(StatementError::OtherKey);
        }
        if now >= statement.ends_at {
            return Err(StatementError::Over);
        }
        if statement.observed.address.ip().is_ipv4() == login.address.ip().is_ipv4() {
            return Err(StatementError::SameFamily);
        }
        Ok(statement)
    }
}

fn signed(text: &str) -> Vec<u8> {
    [CONTEXT, text.as_bytes()].concat()
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a tag of 32 bytes.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let is_hex = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok().filter(|_| is_hex)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_key::{Algorithm, PrivateKey};

    const NOW: u64 = 1_700_000_000;

    fn at(address: &str) -> Observed {
        Observed::direct(address.parse::<std::net::IpAddr>().unwrap())
    }

    fn key() -> PublicKey {
        PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap().public_key().clone()
    }

    #[test]
    fn a_statement_counts_for_its_key_in_its_time_and_with_a_login_over_the_other_family() {
        let (witness, mine) = (Witness::new("secret"), key());
        let token = witness.state(at("2001:db8::1"), &mine, NOW).unwrap();
        let login = at("198.51.111.1");
        let read = witness.read(&token, &mine, &login, NOW + 59).unwrap();
        assert_eq!(read.observed, at("2001:db8::1"));
        assert_eq!(witness.read(&token, &key(), &login, NOW), Err(StatementError::OtherKey));
        assert_eq!(witness.read(&token, &mine, &login, NOW + 60), Err(StatementError::Over));
        assert_eq!(witness.read(&token, &mine, &at("2001:db8::2"), NOW), Err(StatementError::SameFamily));
        let stranger = Witness::new("another");
        assert_eq!(stranger.read(&token, &mine, &login, NOW), Err(StatementError::NotOurs));
    }

    #[test]
    fn what_was_changed_or_is_no_statement_is_not_ours() {
        let (witness, mine) = (Witness::new("secret"), key());
        let token = witness.state(at("2001:db8::1"), &mine, NOW).unwrap();
        let forged = token.replace("2001:db8::1", "2001:db8::2");
        let long = "0".repeat(LONGEST) + &token;
        for text in ["", ".", "ä.", &forged, &token[1..], &long, &format!("{}.{{}}", "0".repeat(64))] {
            let read = witness.read(text, &mine, &at("198.51.111.1"), NOW);
            assert_eq!(read, Err(StatementError::NotOurs), "{text}");
        }
    }
}
