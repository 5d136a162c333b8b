//! Users for tests, with keys made from seeds and certificates that an authority has signed for real.

use signature::Signer;
use ssh_key::certificate::Builder;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{PrivateKey, Signature};

use crate::{Draft, Fingerprint, KnockKey, NONCE_LEN, Packed, UnixMillis};

pub(crate) const NODE: Fingerprint = Fingerprint([9; 32]);

/// Somebody with an Ed25519 key and a certificate.
#[derive(Clone)]
pub(crate) struct User {
    key: PrivateKey,
    pub(crate) certificate: Vec<u8>,
}

impl User {
    pub(crate) fn seeded(seed: u8) -> Self {
        let (key, ca) = (private(seed), private(0));
        let mut builder = Builder::new([1; 32], key.public_key().key_data().clone(), 1000, 2000).unwrap();
        builder.key_id("alice").unwrap().valid_principal("alice").unwrap();
        let certificate = builder.sign(&ca).unwrap().to_bytes().unwrap();
        Self { key, certificate }
    }

    pub(crate) fn signs(&self, draft: &Draft<'_>) -> Vec<u8> {
        let signature: Signature = self.key.try_sign(&draft.to_sign()).unwrap();
        signature.try_into().unwrap()
    }

    pub(crate) fn knock(
        &self,
        node: Fingerprint,
        time: UnixMillis,
        nonce: [u8; NONCE_LEN],
        key: Option<&KnockKey>,
    ) -> Packed {
        let draft = Draft::new(node, time, nonce, &self.certificate);
        draft.signed(&self.signs(&draft), key).unwrap()
    }
}

fn private(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&[seed; 32])), "").unwrap()
}
