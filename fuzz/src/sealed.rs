//! Certificates and policies of which all is made up but the signature: a mutation never hits on that.

use base64ct::{Base64, Encoding};
use cotter_api::{NAMESPACE, PolicyKey, SignedPolicy};
use signature::Signer;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey, Signature};

/// An authority, and the beginning of all that it signs.
#[derive(Debug)]
pub struct Sealed {
    key: PrivateKey,
    /// A certificate's type, a nonce and the subject's key.
    begin: Vec<u8>,
    /// Its public key in wire format.
    ca: Vec<u8>,
}

impl Sealed {
    /// The authority with the key of this seed.
    ///
    /// # Panics
    /// If a key of its own making cannot be encoded.
    #[must_use]
    pub fn seeded(seed: u8) -> Self {
        let pair = Ed25519Keypair::from_seed(&[seed; 32]);
        let begin =
            [string(b"ssh-ed25519-cert-v01@openssh.com"), string(&[1; 32]), string(pair.public.as_ref())];
        let key = PrivateKey::new(KeypairData::from(pair), "").expect("a key");
        let ca = key.public_key().to_bytes().expect("a public key");
        Self { key, begin: begin.concat(), ca }
    }

    /// The line of its public key.
    ///
    /// # Panics
    /// If a key of its own making cannot be encoded.
    #[must_use]
    pub fn public_line(&self) -> String {
        self.key.public_key().to_openssh().expect("a public key")
    }

    /// Its public key in wire format.
    #[must_use]
    pub fn ca(&self) -> &[u8] {
        &self.ca
    }

    /// A certificate, base64, whose fields from the serial number to the reserved one are these bytes.
    ///
    /// # Panics
    /// If its own signature cannot be encoded.
    #[must_use]
    pub fn certificate(&self, fields: &[u8]) -> String {
        let signed = [&self.begin[..], fields, &string(&self.ca)].concat();
        let signature = string(&self.sign(&signed));
        Base64::encode_string(&[signed, signature].concat())
    }

    /// Its signature over these bytes, in SSH's encoding. Its certificates are for its own key.
    ///
    /// # Panics
    /// If its own signature cannot be encoded.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.try_sign(bytes).expect("a signature");
        Vec::try_from(signature).expect("a signature's encoding")
    }

    /// A policy with this text as its document.
    ///
    /// # Panics
    /// If its own signature cannot be encoded.
    #[must_use]
    pub fn policy(&self, document: &str) -> SignedPolicy {
        let signature = self.key.sign(NAMESPACE, HashAlg::Sha512, document.as_bytes()).expect("a signature");
        let signature = signature.to_pem(LineEnding::LF).expect("a signature's encoding");
        SignedPolicy { document: document.to_owned(), signature }
    }

    /// What its policies are known by.
    ///
    /// # Panics
    /// If a key of its own making cannot be encoded.
    #[must_use]
    pub fn policy_key(&self) -> PolicyKey {
        self.public_line().parse().expect("a key of Ed25519")
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes()[..], bytes].concat()
}
