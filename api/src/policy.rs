//! `GET /v1/policy?after=VERSION&wait=SECONDS`: what nodes follow, as one signed and numbered document.

use std::fmt;
use std::str::FromStr;

use pinning::Lock;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use crate::{Entry, Rules, RulesError};

/// What the signature is for, as `ssh-keygen -Y verify -n` has it: a key that signs other things too signs no policy by
/// them.
pub const NAMESPACE: &str = "policy@cotter";
/// Longest text of a document, in bytes.
pub const LONGEST_DOCUMENT: usize = 4 << 20;
/// Most locks at once.
pub const MOST_LOCKS: usize = 10_000;
/// Longest signature, in bytes: Ed25519's has 300.
const LONGEST_SIGNATURE: usize = 4096;

/// What nodes are to go by. Its cluster, version and locks mean the same in all versions to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDocument {
    /// The authority's cluster.
    pub cluster: String,
    /// Each change has a higher one.
    pub version: u64,
    /// When it was made, Unix seconds.
    #[serde(default)]
    pub issued_at: u64,
    /// Who or what may not log in.
    #[serde(default)]
    pub locks: Vec<Entry<Lock>>,
    /// All else: what stands in the authority's files, in the words of the version that has read them. An authority hands on
    /// what another one beside it has published as it is.
    #[serde(flatten)]
    pub rules: Map<String, Value>,
}

impl PolicyDocument {
    /// The locks that are understood.
    pub fn locks(&self) -> impl Iterator<Item = &Lock> {
        self.locks.iter().filter_map(Entry::known)
    }

    /// How many are not.
    pub fn unknown_locks(&self) -> usize {
        self.locks.len() - self.locks().count()
    }

    /// The rules, if they are understood.
    ///
    /// # Errors
    /// [`RulesError::Format`], [`RulesError::Unreadable`].
    pub fn rules(&self) -> Result<Rules, RulesError> {
        Rules::read(&self.rules)
    }
}

/// A public key that signs policies: Ed25519, in one line as OpenSSH has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyKey(PublicKey);

/// A text that is no key of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no public key of a policy: one line `ssh-ed25519 AAAA…`, as `cotter-authority init` prints it")]
pub struct PolicyKeyError;

impl FromStr for PolicyKey {
    type Err = PolicyKeyError;

    fn from_str(line: &str) -> Result<Self, PolicyKeyError> {
        let key = PublicKey::from_openssh(line.trim()).map_err(|_no_key| PolicyKeyError)?;
        if key.algorithm() == Algorithm::Ed25519 { Ok(Self(key)) } else { Err(PolicyKeyError) }
    }
}

impl TryFrom<String> for PolicyKey {
    type Error = PolicyKeyError;

    fn try_from(line: String) -> Result<Self, PolicyKeyError> {
        line.parse()
    }
}

impl From<PolicyKey> for String {
    fn from(key: PolicyKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.to_openssh().map_err(|_what_was_read_can_be_written| fmt::Error)?)
    }
}

/// A document with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedPolicy {
    /// A [`PolicyDocument`] as JSON: the very text that is signed.
    pub document: String,
    /// OpenSSH's signature (PROTOCOL.sshsig) in [`NAMESPACE`].
    pub signature: String,
}

/// Why a document is none to go by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedPolicyError {
    /// It is too long.
    #[error("the policy has more than {LONGEST_DOCUMENT} bytes")]
    TooLong,
    /// The signature is none, or of a key that is not trusted, or of another text.
    #[error("the policy's signature is not by a key that is trusted")]
    Signature,
    /// It is signed and yet none.
    #[error("the policy cannot be read: {0}")]
    Unreadable(String),
    /// It could not be signed.
    #[error("the policy cannot be signed: {0}")]
    Unsigned(String),
}

impl SignedPolicy {
    /// Signs a document.
    ///
    /// # Errors
    /// [`SignedPolicyError::TooLong`], [`SignedPolicyError::Unsigned`].
    pub fn sign(document: &PolicyDocument, key: &PrivateKey) -> Result<Self, SignedPolicyError> {
        let unsigned = |error: &dyn fmt::Display| SignedPolicyError::Unsigned(error.to_string());
        let document = serde_json::to_string(document).map_err(|error| unsigned(&error))?;
        if document.len() > LONGEST_DOCUMENT {
            return Err(SignedPolicyError::TooLong);
        }
        let signature = key.sign(NAMESPACE, HashAlg::Sha512, document.as_bytes());
        let signature = signature.and_then(|signature| signature.to_pem(LineEnding::LF));
        Ok(Self { document, signature: signature.map_err(|error| unsigned(&error))? })
    }

    /// The document, if one of the keys has signed it: nothing of it is looked at before.
    ///
    /// # Errors
    /// See [`SignedPolicyError`].
    pub fn verify(&self, keys: &[PolicyKey]) -> Result<PolicyDocument, SignedPolicyError> {
        if self.document.len() > LONGEST_DOCUMENT || self.signature.len() > LONGEST_SIGNATURE {
            return Err(SignedPolicyError::TooLong);
        }
        let signature =
            SshSig::from_pem(&self.signature).map_err(|_no_signature| SignedPolicyError::Signature)?;
        let signed = |key: &PolicyKey| key.0.verify(NAMESPACE, self.document.as_bytes(), &signature).is_ok();
        if !keys.iter().any(signed) {
            return Err(SignedPolicyError::Signature);
        }
        let unreadable = |error: serde_json::Error| SignedPolicyError::Unreadable(error.to_string());
        serde_json::from_str(&self.document).map_err(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use ssh_key::private::{Ed25519Keypair, KeypairData};

    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "").unwrap()
    }

    fn known(key: &PrivateKey) -> PolicyKey {
        key.public_key().to_openssh().unwrap().parse().unwrap()
    }

    fn document() -> PolicyDocument {
        let lock = r#"{"id": "1", "target": {"login": "bob"}}"#;
        PolicyDocument {
            cluster: "example.com".into(),
            version: 7,
            issued_at: 1_700_000_000,
            rules: Rules::default().raw().unwrap(),
            locks: vec![serde_json::from_str(lock).unwrap()],
        }
    }

    #[test]
    fn a_document_reads_back_by_any_of_the_keys() {
        let signed = SignedPolicy::sign(&document(), &key(1)).unwrap();
        assert_eq!(signed.verify(&[known(&key(2)), known(&key(1))]), Ok(document()));
    }

    #[test]
    fn nothing_counts_without_the_right_signature_of_this_text_for_this_purpose() {
        let signed = SignedPolicy::sign(&document(), &key(1)).unwrap();
        let keys = [known(&key(1))];
        assert_eq!(signed.verify(&[known(&key(2))]), Err(SignedPolicyError::Signature));
        assert_eq!(signed.verify(&[]), Err(SignedPolicyError::Signature));
        let other = SignedPolicy { document: signed.document.replace('7', "8"), ..signed.clone() };
        assert_eq!(other.verify(&keys), Err(SignedPolicyError::Signature));
        let elsewhere = key(1).sign("file", HashAlg::Sha512, signed.document.as_bytes()).unwrap();
        let other = SignedPolicy { signature: elsewhere.to_pem(LineEnding::LF).unwrap(), ..signed.clone() };
        assert_eq!(other.verify(&keys), Err(SignedPolicyError::Signature));
        for signature in ["", "-----BEGIN SSH SIGNATURE-----", &signed.signature[..90]] {
            let other = SignedPolicy { signature: signature.into(), ..signed.clone() };
            assert_eq!(other.verify(&keys), Err(SignedPolicyError::Signature), "{signature:?}");
        }
        let long = SignedPolicy { document: " ".repeat(LONGEST_DOCUMENT + 1), ..signed };
        assert_eq!(long.verify(&keys), Err(SignedPolicyError::TooLong));
    }

    /// A document of a version to come, signed as it is.
    fn of_text(text: &str) -> Result<PolicyDocument, SignedPolicyError> {
        let signature = key(1).sign(NAMESPACE, HashAlg::Sha512, text.as_bytes()).unwrap();
        let signature = signature.to_pem(LineEnding::LF).unwrap();
        SignedPolicy { document: text.into(), signature }.verify(&[known(&key(1))])
    }

    #[test]
    fn locks_count_whatever_else_is_not_understood() {
        let text = r#"{"format": 1, "cluster": "c", "version": 1, "issued_at": 1, "moon": [], "user_ca": [], "roles": [],
            "locks": [{"id": "1", "target": {"moon": 7}}, {"id": "2", "target": {"login": "bob"}, "by": "x"}]}"#;
        assert_eq!(of_text(text).unwrap().rules(), Ok(Rules::default()));
        for text in [
            text.replace("\"format\": 1", "\"format\": 2"),
            text.replace("\"user_ca\": []", "\"user_ca\": {}"),
            text.replace("\"user_ca\": [],", ""),
            text.replace("\"roles\": []", "\"roles\": 7"),
        ] {
            let document = of_text(&text).unwrap();
            assert_eq!(document.locks().map(|lock| lock.id.as_str()).collect::<Vec<_>>(), ["2"], "{text}");
            assert_eq!(document.unknown_locks(), 1);
            assert!(document.rules().is_err(), "{text}");
        }
        assert!(matches!(of_text("{\"format\": 1}"), Err(SignedPolicyError::Unreadable(_))));
        assert!(matches!(of_text(&"[".repeat(100_000)), Err(SignedPolicyError::Unreadable(_))));
    }

    #[test]
    fn only_ed25519_keys_sign_policies() {
        let line = known(&key(1)).to_string();
        assert_eq!(line.parse::<PolicyKey>().unwrap().to_string(), line);
        for line in ["", "ssh-ed25519", "ssh-rsa AAAA"] {
            assert_eq!(line.parse::<PolicyKey>(), Err(PolicyKeyError), "{line:?}");
        }
    }
}
