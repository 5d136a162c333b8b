//! A statement with its signature.

use serde::{Deserialize, Serialize};
use ssh_key::{HashAlg, LineEnding, PrivateKey, SshSig};

use crate::{RelayKey, Statement};

/// What the signature is for, as `ssh-keygen -Y verify -n` has it.
pub const NAMESPACE: &str = "vouch@cotter";
/// Longest line, in bytes, with the line's end.
pub const LONGEST: usize = 4096;

/// A statement with its relay's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// A [`Statement`] as JSON: the very text that is signed.
    pub statement: String,
    /// OpenSSH's signature (PROTOCOL.sshsig) in [`NAMESPACE`].
    pub signature: String,
}

/// Why a line says nothing that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// It is too long.
    #[error("it has more than {LONGEST} bytes")]
    TooLong,
    /// It is no JSON, or of another form.
    #[error("it is no signed statement")]
    Unreadable,
    /// The signature is none, or of another key, or of another text.
    #[error("it is not signed by the relay's key")]
    Signature,
    /// It could not be signed.
    #[error("it cannot be signed: {0}")]
    Unsigned(String),
}

impl Signed {
    /// Signs a statement.
    ///
    /// # Errors
    /// [`SignedError::Unsigned`].
    pub fn sign(statement: &Statement, key: &PrivateKey) -> Result<Self, SignedError> {
        let unsigned = |error: &dyn std::fmt::Display| SignedError::Unsigned(error.to_string());
        let statement = serde_json::to_string(statement).map_err(|error| unsigned(&error))?;
        let signature = key.sign(NAMESPACE, HashAlg::Sha512, statement.as_bytes());
        let signature = signature.and_then(|signature| signature.to_pem(LineEnding::LF));
        Ok(Self { statement, signature: signature.map_err(|error| unsigned(&error))? })
    }

    /// The line that goes to the node.
    ///
    /// # Errors
    /// [`SignedError::TooLong`].
    pub fn line(&self) -> Result<String, SignedError> {
        let mut line =
            serde_json::to_string(self).map_err(|error| SignedError::Unsigned(error.to_string()))?;
        line.push('\n');
        if line.len() > LONGEST { Err(SignedError::TooLong) } else { Ok(line) }
    }

    /// What stands in a line that has come.
    ///
    /// # Errors
    /// [`SignedError::TooLong`], [`SignedError::Unreadable`].
    pub fn read(line: &[u8]) -> Result<Self, SignedError> {
        if line.len() > LONGEST {
            return Err(SignedError::TooLong);
        }
        serde_json::from_slice(line).map_err(|_other| SignedError::Unreadable)
    }

    /// The statement, if the key has signed it: nothing of it is looked at before.
    ///
    /// # Errors
    /// [`SignedError::Signature`], [`SignedError::Unreadable`].
    pub fn verify(&self, key: &RelayKey) -> Result<Statement, SignedError> {
        let signature = SshSig::from_pem(&self.signature).map_err(|_none| SignedError::Signature)?;
        if !key.has_signed(&self.statement, &signature) {
            return Err(SignedError::Signature);
        }
        serde_json::from_str(&self.statement).map_err(|_other| SignedError::Unreadable)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use ssh_key::private::{Ed25519Keypair, KeypairData};

    use super::*;
    use crate::{LONGEST_TEXT, MOST_RELAYS, Says, Vouched};

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "").unwrap()
    }

    fn known(key: &PrivateKey) -> RelayKey {
        key.public_key().to_openssh().unwrap().parse().unwrap()
    }

    fn vouched(through: &[&str]) -> Vouched {
        Vouched {
            address: "198.51.100.7".parse().unwrap(),
            how: "direct".into(),
            user: "alice@example.com".into(),
            serial: Some(7),
            session: "0123456789abcdef".into(),
            through: through.iter().map(|relay| (*relay).to_owned()).collect(),
        }
    }

    fn statement() -> Statement {
        Statement {
            id: "00".repeat(16),
            made_at: 1_700_000_000_000,
            from: "192.0.2.1:40000".parse().unwrap(),
            to: "192.0.2.2:22".parse().unwrap(),
            says: Says::Opened(vouched(&["SHA256:a"])),
        }
    }

    #[test]
    fn a_statement_comes_back_by_its_relays_key_and_no_other() {
        let signed = Signed::sign(&statement(), &key(1)).unwrap();
        let line = signed.line().unwrap();
        let read = Signed::read(line.as_bytes()).unwrap();
        assert_eq!(read.verify(&known(&key(1))), Ok(statement()));
        assert_eq!(read.verify(&known(&key(2))), Err(SignedError::Signature));
    }

    #[test]
    fn nothing_counts_that_was_changed_or_signed_for_something_else() {
        let (signed, known) = (Signed::sign(&statement(), &key(1)).unwrap(), known(&key(1)));
        let changed = Signed { statement: signed.statement.replace("198.51", "203.0"), ..signed.clone() };
        assert_eq!(changed.verify(&known), Err(SignedError::Signature));
        let elsewhere = key(1).sign("file", HashAlg::Sha512, signed.statement.as_bytes()).unwrap();
        let other = Signed { signature: elsewhere.to_pem(LineEnding::LF).unwrap(), ..signed.clone() };
        assert_eq!(other.verify(&known), Err(SignedError::Signature));
        for signature in ["", "-----BEGIN SSH SIGNATURE-----", &signed.signature[..90]] {
            let other = Signed { signature: signature.into(), ..signed.clone() };
            assert_eq!(other.verify(&known), Err(SignedError::Signature), "{signature:?}");
        }
    }

    #[test]
    fn lines_are_bounded_and_of_one_form() {
        assert_eq!(Signed::read(&[b' '; LONGEST + 1]), Err(SignedError::TooLong));
        for line in ["", "{}", "SSH-2.0-none", "[[[[", "{\"statement\": 1, \"signature\": 2}"] {
            assert_eq!(Signed::read(line.as_bytes()), Err(SignedError::Unreadable), "{line}");
        }
        let mut long = statement();
        long.id = "0".repeat(LONGEST);
        assert_eq!(Signed::sign(&long, &key(1)).unwrap().line(), Err(SignedError::TooLong));
    }

    #[test]
    fn texts_are_short_and_leave_the_log_as_it_is() {
        assert!(vouched(&["a"]).is_plain());
        for text in ["two\nlines", "\u{1b}[2J", &"a".repeat(LONGEST_TEXT + 1)] {
            assert!(!Vouched { user: text.into(), ..vouched(&["a"]) }.is_plain(), "{text:?}");
            assert!(!vouched(&[text]).is_plain(), "{text:?}");
        }
    }

    #[test]
    fn the_way_is_short_and_leads_through_no_relay_twice() {
        assert!(vouched(&["a"]).is_straight() && vouched(&["a", "b"]).is_straight());
        assert!(!vouched(&[]).is_straight() && !vouched(&["a", "b", "a"]).is_straight());
        let names: Vec<String> = (0..=MOST_RELAYS).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(vouched(&names[1..]).is_straight() && !vouched(&names).is_straight());
    }
}
