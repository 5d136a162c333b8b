//! What makes a server the right one: the fingerprint of its certificate, or somebody who vouches for it.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use ssh_key::sha2::{Digest, Sha256};

/// SHA-256 of a certificate; `SHA256:` and hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no fingerprint: SHA256: and 64 hexadecimal digits")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits = text.strip_prefix("SHA256:").unwrap_or(text).replace(':', "");
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(FingerprintError);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = &digits[2 * index..2 * index + 2];
            // `from_str_radix` alone would take a sign.
            let is_hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(pair, 16).ok().filter(|_| is_hex).ok_or(FingerprintError)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SHA256:")?;
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl Fingerprint {
    fn of(certificate: &CertificateDer) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

/// A server shows another certificate than the one that is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it shows {shown}, and you trust {known}. Somebody may be in between; nothing was sent")]
pub struct OtherFingerprint {
    /// What it shows.
    pub shown: Fingerprint,
    /// What is trusted.
    pub known: Fingerprint,
}

impl OtherFingerprint {
    /// The one that a failed connection came of, if it did.
    pub(crate) fn behind(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let CertificateError::Other(other) = refused(error)? else { return None };
        other.0.downcast_ref().copied()
    }
}

/// What was wrong with a server's certificate, if a failed connection came of that.
fn refused<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e CertificateError> {
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    let rustls::Error::InvalidCertificate(why) = inner.downcast_ref()? else { return None };
    Some(why)
}

/// That no CA which is trusted vouches for a server, in words, if a failed connection came of that.
pub(crate) fn not_vouched_for(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let why = refused(error)?;
    Some(format!(
        "the CA file does not vouch for the certificate that it shows ({why}). Somebody may be in between; nothing was sent"
    ))
}

/// Why a file of certificates is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{0}: no PEM certificates: {1}")]
pub struct CaFileError(String, String);

/// What is trusted.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The server with this certificate, whatever its name.
    Fingerprint(Fingerprint),
    /// Servers that these authorities vouch for, by name.
    Authorities(Arc<RootCertStore>),
    /// Nobody: the fingerprint is looked at, and nothing is said to the server.
    Nobody(Shown),
    /// Whoever is there: for what is authentic by a signature of its own, and needs no secrecy.
    Anyone,
}

/// The fingerprint that a server showed.
#[derive(Debug, Clone, Default)]
pub struct Shown(Arc<Mutex<Option<Fingerprint>>>);

impl Shown {
    /// What was shown last.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trust {
    /// Whoever the authorities in a PEM file vouch for.
    ///
    /// # Errors
    /// That it cannot be read, or holds none.
    pub fn of_file(path: &str) -> Result<Self, CaFileError> {
        let error = |why: String| CaFileError(path.to_owned(), why);
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|why| error(why.to_string()))? {
            let certificate = certificate.map_err(|why| error(why.to_string()))?;
            store.add(certificate).map_err(|why| error(why.to_string()))?;
        }
        if store.is_empty() {
            Err(error("there is none".to_owned()))
        } else {
            Ok(Self::Authorities(store.into()))
        }
    }

    /// The same for TLS.
    ///
    /// # Errors
    /// What rustls says.
    pub fn client(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match self {
            Self::Authorities(roots) => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider).build();
                builder.with_webpki_verifier(
                    verifier.map_err(|error| rustls::Error::General(error.to_string()))?,
                )
            }
            Self::Fingerprint(_) | Self::Nobody(_) | Self::Anyone => {
                let verifier = Arc::new(ByFingerprint { trust: self.clone(), provider });
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
        };
        Ok(builder.with_no_client_auth())
    }
}

/// Goes by the certificate alone; that the server has its key is proven as ever.
#[derive(Debug)]
struct ByFingerprint {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint::of(end_entity);
        match &self.trust {
            Trust::Anyone => Ok(ServerCertVerified::assertion()),
            Trust::Fingerprint(known) if *known == shown => Ok(ServerCertVerified::assertion()),
            Trust::Fingerprint(known) => {
                let other = OtherError(Arc::new(OtherFingerprint { shown, known: *known }));
                Err(CertificateError::Other(other).into())
            }
            Trust::Nobody(seen) => {
                *seen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
                Err(rustls::Error::General("not known yet".to_owned()))
            }
            Trust::Authorities(_) => Err(rustls::Error::General("not by its fingerprint".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_with_and_without_its_name_and_colons() {
        let text = format!("SHA256:{}", "0a".repeat(32));
        let fingerprint: Fingerprint = text.parse().unwrap();
        assert_eq!(fingerprint.to_string(), text);
        assert_eq!(["0A"; 32].join(":").parse(), Ok(fingerprint));
        for text in ["", "SHA256:", "SHA256:0a", &"+a".repeat(32), &"ä".repeat(32)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text:?}");
        }
    }
}
