//! Certificates for tests: encoded field by field, so that also malformed ones can be made, and signed for real.

use base64ct::{Base64, Encoding};
use signature::Signer;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{PrivateKey, Signature};

/// An authority with an Ed25519 key made from a seed.
#[derive(Clone)]
pub(crate) struct Authority(PrivateKey);

impl Authority {
    pub(crate) fn seeded(seed: u8) -> Self {
        let pair = KeypairData::from(Ed25519Keypair::from_seed(&[seed; 32]));
        Self(PrivateKey::new(pair, "").unwrap())
    }

    pub(crate) fn key(&self) -> &PrivateKey {
        &self.0
    }

    pub(crate) fn public_line(&self) -> String {
        self.0.public_key().to_openssh().unwrap()
    }

    /// A sound user certificate of alice, valid from 1000 to 2000, without options.
    pub(crate) fn certificate(&self) -> Draft {
        Draft {
            authority: self.clone(),
            kind: 1,
            serial: 7,
            key_id: b"alice".to_vec(),
            principals: vec![b"alice".to_vec(), b"deploy".to_vec()],
            valid: (1000, 2000),
            critical: Vec::new(),
            extensions: vec![(b"permit-pty".to_vec(), Vec::new())],
        }
    }
}

/// A certificate before it is signed.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) authority: Authority,
    pub(crate) kind: u32,
    pub(crate) serial: u64,
    pub(crate) key_id: Vec<u8>,
    pub(crate) principals: Vec<Vec<u8>>,
    pub(crate) valid: (u64, u64),
    pub(crate) critical: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) extensions: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes()[..], bytes].concat()
}

fn options(list: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    string(&list.iter().flat_map(|(name, data)| [string(name), string(data)]).flatten().collect::<Vec<_>>())
}

impl Draft {
    pub(crate) fn principals(mut self, principals: &[&str]) -> Self {
        self.principals = principals.iter().map(|principal| principal.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) fn valid(mut self, after: u64, before: u64) -> Self {
        self.valid = (after, before);
        self
    }

    /// A critical option whose value is a string nested in its data, as OpenSSH writes them.
    pub(crate) fn critical(self, name: &str, value: &str) -> Self {
        self.critical_raw(name, &string(value.as_bytes()))
    }

    pub(crate) fn critical_raw(mut self, name: &str, data: &[u8]) -> Self {
        self.critical.push((name.as_bytes().to_vec(), data.to_vec()));
        self
    }

    pub(crate) fn pinned(self, source_address: &str) -> Self {
        self.critical("source-address", source_address)
    }

    pub(crate) fn extension(self, name: &str, value: &str) -> Self {
        self.extension_raw(name, &string(value.as_bytes()))
    }

    pub(crate) fn extension_raw(mut self, name: &str, data: &[u8]) -> Self {
        self.extensions.push((name.as_bytes().to_vec(), data.to_vec()));
        self
    }

    /// Everything that the signature covers.
    pub(crate) fn signed_part(&self) -> Vec<u8> {
        let subject = Authority::seeded(200);
        let public = subject.key().public_key().key_data().ed25519().unwrap().0;
        let ca = self.authority.key().public_key().to_bytes().unwrap();
        [
            string(b"ssh-ed25519-cert-v01@openssh.com"),
            string(&[1; 32]),
            string(&public),
            self.serial.to_be_bytes().to_vec(),
            self.kind.to_be_bytes().to_vec(),
            string(&self.key_id),
            string(&self.principals.iter().flat_map(|principal| string(principal)).collect::<Vec<_>>()),
            self.valid.0.to_be_bytes().to_vec(),
            self.valid.1.to_be_bytes().to_vec(),
            options(&self.critical),
            options(&self.extensions),
            string(b""),
            string(&ca),
        ]
        .concat()
    }

    /// The signature's own encoding.
    pub(crate) fn signature(&self) -> Vec<u8> {
        let signature: Signature = self.authority.key().try_sign(&self.signed_part()).unwrap();
        Vec::try_from(signature).unwrap()
    }

    pub(crate) fn blob(&self) -> Vec<u8> {
        [self.signed_part(), string(&self.signature())].concat()
    }

    /// The certificate as one line of text.
    pub(crate) fn text(&self) -> String {
        format!("ssh-ed25519-cert-v01@openssh.com {} test", Base64::encode_string(&self.blob()))
    }
}
