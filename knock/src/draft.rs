//! A knock in the making: what is to be signed, and what comes of it.

use crate::frame::frame;
use crate::knock::{self, Header};
use crate::proof::{self, MESSAGE_LEN};
use crate::{Fingerprint, Knock, KnockKey, MAX_DATAGRAM, NONCE_LEN, UnixMillis, Unproven};

/// A knock before its proof.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    header: Header,
    certificate: &'a [u8],
}

/// A knock ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed(Vec<u8>);

/// Why nothing can be sent. A node would have kept silent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// It is longer than a knock may be.
    #[error("the certificate has {0} bytes, and is too large to knock with")]
    Long(usize),
    /// The signature proves nothing.
    #[error("this would open no door: {0}")]
    Unproven(#[from] Unproven),
}

impl<'a> Draft<'a> {
    /// One for this node, made now, with random bytes that were never used before, and the certificate's bytes.
    pub fn new(node: Fingerprint, now: UnixMillis, nonce: [u8; NONCE_LEN], certificate: &'a [u8]) -> Self {
        Self { header: knock::header(node, now, nonce), certificate }
    }

    /// What is proven: `ssh-keygen -Y sign -n knock@cotter` takes this.
    pub fn message(&self) -> [u8; MESSAGE_LEN] {
        proof::message(&self.header, self.certificate)
    }

    /// What the certificate's key signs to prove it; an ssh-agent takes this (for RSA with the flag for SHA-256 or SHA-512).
    pub fn to_sign(&self) -> Vec<u8> {
        proof::to_sign(&self.message())
    }

    /// Puts it together with the signature over [`Draft::to_sign`], in SSH's encoding as an ssh-agent answers it, and the
    /// certificate's key for knocks if the authority gave one. The proof is checked: nobody else would say that it is wrong.
    ///
    /// # Errors
    /// See [`DraftError`].
    pub fn signed(&self, signature: &[u8], key: Option<&KnockKey>) -> Result<Packed, DraftError> {
        let mac = |covered: &[u8]| key.map(|key| key.mac(covered));
        let too_long = || DraftError::Long(self.certificate.len());
        let bytes = knock::assemble(&self.header, self.certificate, signature, mac).ok_or_else(too_long)?;
        Knock::parse(&bytes).map_err(|_malformed| too_long())?.prove()?;
        Ok(Packed(bytes))
    }
}

impl Packed {
    /// The knock, whatever it is sent in.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What to send in a UDP datagram; `None` if it is too large for one.
    pub fn datagram(&self) -> Option<&[u8]> {
        (self.0.len() <= MAX_DATAGRAM).then_some(&self.0)
    }

    /// What to send over TCP.
    pub fn framed(&self) -> Vec<u8> {
        frame(&self.0)
    }
}
