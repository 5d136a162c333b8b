//! The proof that whoever knocks has the certificate's key: OpenSSH's signature over what the knock says (PROTOCOL.sshsig).

use pinning::{Certificate, Denial};
use ring::digest::{SHA256, SHA512, digest};
use signature::Verifier;
use ssh_key::{Algorithm, Signature};

use crate::Knock;
use crate::knock::{HEADER_LEN, Header};

/// What SSHSIG's signatures of knocks are for.
pub const NAMESPACE: &str = "knock@cotter";
/// Bytes of what is proven: a knock's first 64, and the SHA-256 of its certificate.
pub const MESSAGE_LEN: usize = HEADER_LEN + 32;

/// What stands before the message's SHA-512 in what the key signs: the namespace, nothing reserved, and the hash's name,
/// each behind its length.
const ENVELOPE: &[u8] = b"SSHSIG\0\0\0\x0cknock@cotter\0\0\0\0\0\0\0\x06sha512\0\0\0\x40";
/// Flags and counter behind a security key's signature.
const TRAILER_LEN: usize = 5;

/// A knock whose maker had its certificate's key. Whether that certificate is worth anything is another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven<'a>(Knock<'a>);

/// Why a knock is not proven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The certificate cannot be read.
    #[error("its certificate: {}", .0.detail)]
    Certificate(Denial),
    /// What should be the signature is none, or not of a kind that this key makes.
    #[error("its signature is not one that {0} makes")]
    Kind(Algorithm),
    /// It is not this key's, or not over this knock.
    #[error("its signature is not by the certificate's key over this knock")]
    Signature,
}

impl<'a> Knock<'a> {
    /// Checks the proof, by the key that the certificate is for. What a key signs with SHA-1, or DSA, proves nothing. A security
    /// key need not have been touched: sshd asks for that, at the login itself.
    ///
    /// # Errors
    /// See [`Unproven`].
    pub fn prove(self) -> Result<Proven<'a>, Unproven> {
        let certificate =
            Certificate::from_blob(self.certificate().to_vec()).map_err(Unproven::Certificate)?;
        let key = certificate.key().key_data();
        let signature =
            read(self.signature()).filter(|signature| fits(&key.algorithm(), &signature.algorithm()));
        let signature = signature.ok_or_else(|| Unproven::Kind(key.algorithm()))?;
        let signed = to_sign(&message(self.header, self.certificate()));
        key.verify(&signed, &signature).map_err(|_opaque| Unproven::Signature)?;
        Ok(Proven(self))
    }
}

impl<'a> Proven<'a> {
    /// The knock.
    pub fn knock(&self) -> &Knock<'a> {
        &self.0
    }
}

/// What is proven.
pub(crate) fn message(header: &Header, certificate: &[u8]) -> [u8; MESSAGE_LEN] {
    let mut message = [0; MESSAGE_LEN];
    message[..HEADER_LEN].copy_from_slice(header);
    message[HEADER_LEN..].copy_from_slice(digest(&SHA256, certificate).as_ref());
    message
}

/// What a key signs to prove it.
pub(crate) fn to_sign(message: &[u8; MESSAGE_LEN]) -> Vec<u8> {
    [ENVELOPE, digest(&SHA512, message).as_ref()].concat()
}

/// A signature in SSH's encoding, and nothing behind it.
fn read(bytes: &[u8]) -> Option<Signature> {
    let (_name, rest) = string(bytes)?;
    let (_value, rest) = string(rest)?;
    let signature = Signature::try_from(bytes).ok()?;
    let security_key = matches!(signature.algorithm(), Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256);
    let trailer = if security_key { TRAILER_LEN } else { 0 };
    (rest.len() == trailer).then_some(signature)
}

/// What has its length in four bytes before it, and what follows.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

/// Whether a key of one kind makes signatures of the other; RSA's are called by their hash (RFC 8332).
fn fits(key: &Algorithm, signature: &Algorithm) -> bool {
    match (key, signature) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { hash }) => hash.is_some(),
        (key, signature) => key == signature,
    }
}

#[cfg(test)]
mod tests {
    use ssh_key::{HashAlg, SshSig};

    use super::*;

    #[test]
    fn what_a_key_signs_is_openssh_s_own() {
        let message = [5; MESSAGE_LEN];
        let theirs = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, &message).unwrap();
        assert_eq!(to_sign(&message), theirs);
    }

    #[test]
    fn a_signature_ends_where_it_ends() {
        let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        let plain = [string(b"ssh-ed25519"), string(&[1; 64])].concat();
        assert!(read(&plain).is_some());
        for wrong in
            [&plain[..plain.len() - 1], &[&plain[..], b"\0"].concat(), &[&plain[..], &[0; 5]].concat(), b""]
        {
            assert_eq!(read(wrong), None);
        }
        let touched = [string(b"sk-ssh-ed25519@openssh.com"), string(&[1; 64]), vec![1, 0, 0, 0, 9]].concat();
        assert!(read(&touched).is_some());
        assert_eq!(read(&touched[..touched.len() - 1]), None);
        assert_eq!(read(&[&touched[..], b"\0"].concat()), None);
    }

    #[test]
    fn sha_1_proves_nothing() {
        let old = [&b"\0\0\0\x07ssh-rsa\0\0\x01\0"[..], &[1; 256]].concat();
        let fitting =
            read(&old).is_some_and(|signature| fits(&Algorithm::Rsa { hash: None }, &signature.algorithm()));
        assert!(!fitting);
    }
}
