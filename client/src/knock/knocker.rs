//! Whoever knocks: a certificate, its key, and the key for knocks that the authority has given with it.

use std::time::SystemTime;

use cotter_knock::{Draft, DraftError, Fingerprint, KnockKey, NONCE_LEN, Packed};
use ssh_key::rand_core::{OsRng, RngCore};

use crate::credential::{self, SignError};
use crate::home::{self, Drawer, HomeError};

/// Why there is no knock.
#[derive(Debug, thiserror::Error)]
pub enum KnockError {
    /// Something that is needed cannot be read.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// There is nothing to knock with.
    #[error("you are not logged in")]
    NoCertificate,
    /// There is no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// It would be of no use.
    #[error(transparent)]
    Draft(#[from] DraftError),
}

/// Somebody who is logged in.
#[derive(Debug)]
pub struct Knocker {
    drawer: Drawer,
    certificate: Vec<u8>,
    key: Option<KnockKey>,
}

impl Knocker {
    /// Whoever is logged in there.
    ///
    /// # Errors
    /// See [`KnockError`].
    pub fn of(drawer: Drawer) -> Result<Self, KnockError> {
        let certificate = credential::certificate(&drawer)?.ok_or(KnockError::NoCertificate)?;
        let path = drawer.knock_key();
        let key = home::read(&path)?.map(|text| text.parse::<KnockKey>()).transpose();
        let key = key.map_err(|error| HomeError::Unreadable { path, why: error.to_string() })?;
        Ok(Self { drawer, certificate, key })
    }

    /// A knock at the node with this host key, made now: a node takes none twice.
    ///
    /// # Errors
    /// See [`KnockError`].
    pub fn knock(&self, node: Fingerprint) -> Result<Packed, KnockError> {
        let mut nonce = [0; NONCE_LEN];
        OsRng.fill_bytes(&mut nonce);
        let draft = Draft::new(node, SystemTime::now().into(), nonce, &self.certificate);
        let signature = credential::sign(&draft.to_sign(), &self.drawer)?;
        Ok(draft.signed(&signature, self.key.as_ref())?)
    }
}
