//! Knocks with keys that live in a security key, whose signatures are made here as FIDO has them (PROTOCOL.u2f).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use cotter_knock::{Draft, DraftError, Fingerprint, UnixMillis, Unproven};
use signature::Signer;
use ssh_key::certificate::Builder;
use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, KeypairData};
use ssh_key::public::{EcdsaPublicKey, KeyData, SkEcdsaSha2NistP256, SkEd25519};
use ssh_key::rand_core::OsRng;
use ssh_key::sha2::{Digest, Sha256};
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey, Signature};

/// What is in the key, how SSH sees it, and how that signs.
struct SecurityKey {
    inside: KeypairData,
    public: KeyData,
    name: &'static [u8],
}

impl SecurityKey {
    fn ed25519() -> Self {
        let pair = Ed25519Keypair::random(&mut OsRng);
        let public = KeyData::SkEd25519(SkEd25519::new(pair.public, "ssh:"));
        Self { inside: pair.into(), public, name: b"sk-ssh-ed25519@openssh.com" }
    }

    fn ecdsa() -> Self {
        let pair = EcdsaKeypair::random(&mut OsRng, EcdsaCurve::NistP256).unwrap();
        let EcdsaPublicKey::NistP256(point) = EcdsaPublicKey::from(&pair) else { panic!("of P-256") };
        let public = KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(point, "ssh:"));
        Self { inside: pair.into(), public, name: b"sk-ecdsa-sha2-nistp256@openssh.com" }
    }

    fn certificate(&self) -> Vec<u8> {
        let ca = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let mut builder =
            Builder::new_with_random_nonce(&mut OsRng, self.public.clone(), 1000, 2000).unwrap();
        builder.key_id("alice").unwrap().valid_principal("alice").unwrap();
        builder.sign(&ca).unwrap().to_bytes().unwrap()
    }

    fn signs(&self, message: &[u8], counter: u8) -> Vec<u8> {
        let trailer = [1, 0, 0, 0, counter];
        let covered = [&Sha256::digest("ssh:")[..], &trailer, &Sha256::digest(message)].concat();
        let signature: Signature = self.inside.try_sign(&covered).unwrap();
        [string(self.name), string(signature.as_bytes()), trailer.to_vec()].concat()
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

#[test]
fn a_security_key_proves_a_knock_that_fits_in_a_datagram() {
    for key in [SecurityKey::ed25519(), SecurityKey::ecdsa()] {
        let certificate = key.certificate();
        let draft = Draft::new(Fingerprint([9; 32]), UnixMillis(1), [3; 16], &certificate);
        let signature = key.signs(&draft.to_sign(), 7);
        let packed = draft.signed(&signature, None).unwrap();
        assert!(packed.datagram().is_some());
        // What it has counted is under its signature too, and nothing stands behind that.
        let mut other = signature.clone();
        *other.last_mut().unwrap() += 1;
        assert_eq!(draft.signed(&other, None), Err(DraftError::Unproven(Unproven::Signature)));
        let longer = [&signature[..], b"\0"].concat();
        assert!(matches!(draft.signed(&longer, None), Err(DraftError::Unproven(Unproven::Kind(_)))));
    }
}
