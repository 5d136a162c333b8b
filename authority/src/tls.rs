//! The certificate that the authority shows: somebody else's, or one of our own making whose fingerprint clients remember.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ssh_key::sha2::{Digest, Sha256};

use crate::config::{Config, TlsFiles};
use crate::files;

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, or holds none.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Certificate and key do not go together, or are of a kind that is not understood.
    #[error("the TLS certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// One cannot be made.
    #[error("a TLS certificate cannot be made: {0}")]
    NotMade(String),
}

/// What the authority shows.
#[derive(Debug, Clone)]
pub struct Tls {
    /// For connections.
    pub server: Arc<ServerConfig>,
    /// SHA-256 of the certificate, as `SHA256:…` in hexadecimal digits: what clients are told.
    pub fingerprint: String,
}

impl Tls {
    /// Reads the configured certificate, or the one of our own making, which is made if it is missing.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(config: &Config) -> Result<Self, TlsError> {
        let own = TlsFiles {
            certificate: config.state_dir.join("tls/certificate.pem"),
            key: config.state_dir.join("tls/key.pem"),
        };
        let files = config.tls.as_ref().unwrap_or(&own);
        if config.tls.is_none() && !own.certificate.exists() {
            make(&own, &config.name)?;
        }
        read(files)
    }
}

fn read(files: &TlsFiles) -> Result<Tls, TlsError> {
    let chain =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(error(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(error(&files.key))?;
    let first = chain.first().ok_or_else(|| error(&files.certificate)("holds no certificate"))?;
    let fingerprint = fingerprint(first);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls { server: Arc::new(server), fingerprint })
}

/// The key first: a certificate without its key is never found.
fn make(files: &TlsFiles, name: &str) -> Result<(), TlsError> {
    let not_made = |error: rcgen::Error| TlsError::NotMade(error.to_string());
    let names = [name.to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(not_made)?;
    match fs::remove_file(&files.key) {
        Err(failed) if failed.kind() != std::io::ErrorKind::NotFound => {
            return Err(error(&files.key)(failed));
        }
        Ok(()) | Err(_) => {}
    }
    files::write_new(&files.key, made.signing_key.serialize_pem().as_bytes(), 0o600)
        .map_err(error(&files.key))?;
    files::write_new(&files.certificate, made.cert.pem().as_bytes(), 0o644).map_err(error(&files.certificate))
}

/// `SHA256:` and the digest in hexadecimal digits, as openssl and browsers show it but for the colons.
fn fingerprint(certificate: &CertificateDer) -> String {
    let digest = Sha256::digest(certificate);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("SHA256:{digits}")
}

fn error<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> TlsError {
    move |why| TlsError::File { path: path.into(), why: why.to_string() }
}
