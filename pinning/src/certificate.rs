//! OpenSSH user certificates (PROTOCOL.certkeys), read the way sshd reads them.
//!
//! The bytes are walked here rather than by `ssh_key::Certificate`, which re-encodes what it parsed before it checks
//! the signature, and reads neither validity "forever" nor options that sshd takes. Keys and signatures are `ssh_key`'s.

use base64ct::{Base64, Base64Unpadded, Encoding};
use signature::Verifier;
use ssh_key::sha2::{Digest, Sha256};
use ssh_key::{HashAlg, PublicKey, Signature};

use crate::wire::{Cursor, Truncated};
use crate::{Denial, Identity, LoginReason, PinError, Pins};

/// The longest certificate text that is looked at, in bytes.
pub const MAX_CERTIFICATE_TEXT: usize = 128 * 1024;
/// OpenSSH's limit (`SSHKEY_CERT_MAX_PRINCIPALS`).
const MAX_PRINCIPALS: usize = 256;
/// Most critical options, and most extensions.
const MAX_OPTIONS: usize = 256;

const USER: u32 = 1;
const HOST: u32 = 2;

/// A critical option or an extension: its name and its raw data.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CertificateOption {
    name: String,
    data: Vec<u8>,
}

/// A well-formed certificate. Nothing of it is true until [`Certificate::verify_signature`] passed for a trusted
/// authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    blob: Vec<u8>,
    /// How much of the blob the signature covers.
    signed_len: usize,
    key: PublicKey,
    serial: u64,
    kind: u32,
    key_id: String,
    principals: Vec<String>,
    valid_after: u64,
    valid_before: u64,
    critical_options: Vec<CertificateOption>,
    extensions: Vec<CertificateOption>,
    ca: Vec<u8>,
    signature: Vec<u8>,
}

impl Certificate {
    /// Reads `ssh-…-cert-v01@openssh.com AAAA… [comment]` or the bare base64 blob.
    ///
    /// # Errors
    /// `no_certificate` for nothing at all and for a plain public key, else `malformed_certificate`; this also for two
    /// options of one name, which sshd rejects where it matters, and for what stands behind the signature.
    pub fn parse(text: &str) -> Result<Self, Denial> {
        let (named, blob) = decode_text(text)?;
        let certificate = Self::from_blob(blob)?;
        let kind = Cursor::new(&certificate.blob).text().unwrap_or_default();
        match named {
            Some(name) if name != kind => Err(malformed(format!("it is called {name:?} and is {kind:?}"))),
            _ => Ok(certificate),
        }
    }

    /// Reads its bytes, not their base64.
    ///
    /// # Errors
    /// As [`Certificate::parse`].
    pub fn from_blob(blob: Vec<u8>) -> Result<Self, Denial> {
        if blob.len() > MAX_CERTIFICATE_TEXT {
            return Err(malformed(format!("it is longer than {MAX_CERTIFICATE_TEXT} bytes")));
        }
        let mut cursor = Cursor::new(&blob);
        let key_kind = cursor.text().ok().and_then(KeyKind::of_certificate);
        let Some(key_kind) = key_kind else {
            return Err(match PublicKey::from_bytes(&blob) {
                Ok(_) => Denial::new(LoginReason::NoCertificate, "this is a plain public key"),
                Err(_) => malformed("it is of no kind known here"),
            });
        };
        let body = Body::read(&mut cursor, blob.len(), key_kind)
            .map_err(|Truncated| malformed("its fields do not add up"))?;
        let key = PublicKey::from_bytes(&body.key).map_err(|error| malformed(format!("its key: {error}")))?;
        if body.kind != USER && body.kind != HOST {
            return Err(malformed(format!("its type is {}, neither user nor host", body.kind)));
        }
        let principals = read_principals(body.principals)?;
        Ok(Self {
            signed_len: body.signed_len,
            key,
            serial: body.serial,
            kind: body.kind,
            key_id: body.key_id.to_owned(),
            principals,
            valid_after: body.valid_after,
            valid_before: body.valid_before,
            critical_options: read_options(body.critical_options)?,
            extensions: read_options(body.extensions)?,
            ca: body.ca.to_owned(),
            signature: body.signature.to_owned(),
            blob,
        })
    }

    /// What the certificate says of its holder; `cluster` is left open.
    pub fn identity(&self) -> Identity {
        Identity {
            cluster: None,
            key_id: self.key_id.clone(),
            serial: self.serial,
            ca: fingerprint(&self.ca),
            key: self.key.fingerprint(HashAlg::Sha256).to_string(),
            principals: self.principals.clone(),
            pins: self.pins().ok().flatten(),
            valid_after: self.valid_after,
            valid_before: self.valid_before,
        }
    }

    /// The principals, in the certificate's order.
    pub fn principals(&self) -> &[String] {
        &self.principals
    }

    /// When it ends, in Unix seconds; `u64::MAX` is never.
    pub(crate) fn valid_before(&self) -> u64 {
        self.valid_before
    }

    /// The key that it is for.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The authority's public key in wire format.
    pub fn ca(&self) -> &[u8] {
        &self.ca
    }

    /// # Errors
    /// `not_a_user_certificate` for a host's.
    pub fn require_user(&self) -> Result<(), Denial> {
        match self.kind {
            USER => Ok(()),
            _ => Err(Denial::new(LoginReason::NotAUserCertificate, "the certificate is a host's")),
        }
    }

    /// Checks the signature over the very bytes received, by the authority's key named in the certificate. Whether that
    /// key is to be trusted is another question.
    ///
    /// # Errors
    /// `signature_invalid`; also for algorithms that sshd takes from no authority (SHA-1, DSA).
    pub fn verify_signature(&self) -> Result<(), Denial> {
        let invalid = |detail: String| Denial::new(LoginReason::SignatureInvalid, detail);
        let ca = PublicKey::from_bytes(&self.ca)
            .map_err(|error| invalid(format!("the authority's key: {error}")))?;
        let signature = Signature::try_from(&self.signature[..])
            .map_err(|error| invalid(format!("the signature: {error}")))?;
        let whole = Vec::try_from(signature.clone()).is_ok_and(|encoded: Vec<u8>| encoded == self.signature);
        if !whole {
            return Err(invalid("the signature is followed by other data".into()));
        }
        let signed = &self.blob[..self.signed_len];
        let verified = ca.key_data().verify(signed, &signature);
        verified.map_err(|error| invalid(format!("the signature is not the authority's: {error}")))
    }

    /// # Errors
    /// `certificate_not_yet_valid` or `certificate_expired` unless `valid_after <= now < valid_before`.
    pub fn require_valid_at(&self, now: u64) -> Result<(), Denial> {
        if now < self.valid_after {
            let wait = self.valid_after - now;
            return Err(Denial::new(LoginReason::CertificateNotYetValid, format!("valid in {wait} s")));
        }
        if now >= self.valid_before {
            let ago = now - self.valid_before;
            return Err(Denial::new(LoginReason::CertificateExpired, format!("expired {ago} s ago")));
        }
        Ok(())
    }

    /// Checks that every critical option is known. `source-address` is read by [`Certificate::pins`]; `force-command` and
    /// `verify-required` are sshd's to carry out.
    ///
    /// # Errors
    /// `critical_option_unknown`; `malformed_certificate` for `force-command` or `verify-required` with wrong data.
    pub fn require_known_options(&self) -> Result<(), Denial> {
        for option in &self.critical_options {
            let sound = match option.name.as_str() {
                "source-address" => continue,
                "force-command" => nested(&option.data).is_some(),
                "verify-required" => option.data.is_empty(),
                name => {
                    let detail = format!("critical option {name:?} is not known here");
                    return Err(Denial::new(LoginReason::CriticalOptionUnknown, detail));
                }
            };
            if !sound {
                return Err(malformed(format!("critical option {:?} has wrong data", option.name)));
            }
        }
        Ok(())
    }

    /// The pinned addresses: the critical option `source-address`. An extension of that name pins nothing, as in sshd.
    ///
    /// # Errors
    /// `source_address_invalid`.
    pub fn pins(&self) -> Result<Option<Pins>, Denial> {
        let invalid = |detail: String| Denial::new(LoginReason::SourceAddressInvalid, detail);
        let Some(option) = self.critical_options.iter().find(|option| option.name == "source-address") else {
            return Ok(None);
        };
        let list = nested(&option.data).ok_or_else(|| invalid("source-address holds no text".into()))?;
        list.parse().map(Some).map_err(|error: PinError| invalid(error.to_string()))
    }

    /// The text of an extension, if it is there.
    ///
    /// # Errors
    /// `malformed_certificate` if it is there and holds no text.
    pub fn extension(&self, name: &str) -> Result<Option<&str>, Denial> {
        let Some(option) = self.extensions.iter().find(|option| option.name == name) else {
            return Ok(None);
        };
        nested(&option.data).map(Some).ok_or_else(|| malformed(format!("extension {name:?} holds no text")))
    }
}

/// The fields of a certificate as they lie in the blob.
struct Body<'a> {
    /// The subject's key as a plain public key in wire format.
    key: Vec<u8>,
    serial: u64,
    kind: u32,
    key_id: &'a str,
    principals: &'a [u8],
    valid_after: u64,
    valid_before: u64,
    critical_options: &'a [u8],
    extensions: &'a [u8],
    ca: &'a [u8],
    signed_len: usize,
    signature: &'a [u8],
}

impl<'a> Body<'a> {
    /// Reads everything behind the certificate's type, to the last byte.
    fn read(cursor: &mut Cursor<'a>, blob_len: usize, key_kind: &KeyKind) -> Result<Self, Truncated> {
        let _nonce = cursor.string()?;
        let mut key = Vec::new();
        append(&mut key, key_kind.plain.as_bytes());
        for _ in 0..key_kind.fields {
            append(&mut key, cursor.string()?);
        }
        let serial = cursor.u64()?;
        let kind = cursor.u32()?;
        let key_id = cursor.text()?;
        let principals = cursor.string()?;
        let valid_after = cursor.u64()?;
        let valid_before = cursor.u64()?;
        let critical_options = cursor.string()?;
        let extensions = cursor.string()?;
        let _reserved = cursor.string()?;
        let ca = cursor.string()?;
        let signed_len = blob_len - cursor.len();
        let signature = cursor.string()?;
        if !cursor.is_empty() {
            return Err(Truncated);
        }
        Ok(Self {
            key,
            serial,
            kind,
            key_id,
            principals,
            valid_after,
            valid_before,
            critical_options,
            extensions,
            ca,
            signed_len,
            signature,
        })
    }
}

/// A kind of user key: how its certificate is called, how the plain key, and how many fields the key has.
struct KeyKind {
    certificate: &'static str,
    plain: &'static str,
    fields: usize,
}

impl KeyKind {
    const ALL: [Self; 8] = [
        Self::new("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", 1),
        Self::new("sk-ssh-ed25519-cert-v01@openssh.com", "sk-ssh-ed25519@openssh.com", 2),
        Self::new("ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp256", 2),
        Self::new("ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp384", 2),
        Self::new("ecdsa-sha2-nistp521-cert-v01@openssh.com", "ecdsa-sha2-nistp521", 2),
        Self::new("sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", 3),
        Self::new("ssh-rsa-cert-v01@openssh.com", "ssh-rsa", 2),
        Self::new("ssh-dss-cert-v01@openssh.com", "ssh-dss", 4),
    ];

    const fn new(certificate: &'static str, plain: &'static str, fields: usize) -> Self {
        Self { certificate, plain, fields }
    }

    fn of_certificate(name: &str) -> Option<&'static Self> {
        const { &Self::ALL }.iter().find(|kind| kind.certificate == name)
    }
}

fn malformed(detail: impl Into<String>) -> Denial {
    Denial::new(LoginReason::MalformedCertificate, detail)
}

/// The SHA-256 fingerprint of a public key in wire format, as OpenSSH prints it.
pub(crate) fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(key)))
}

fn append(out: &mut Vec<u8>, field: &[u8]) {
    let len = u32::try_from(field.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(field);
}

/// The type that the text names, if it does, and the decoded blob.
fn decode_text(text: &str) -> Result<(Option<&str>, Vec<u8>), Denial> {
    if text.len() > MAX_CERTIFICATE_TEXT {
        return Err(malformed(format!("it is longer than {MAX_CERTIFICATE_TEXT} bytes")));
    }
    let line = text.trim_matches([' ', '\t', '\r', '\n']);
    if line.is_empty() {
        return Err(Denial::new(LoginReason::NoCertificate, "there is no certificate"));
    }
    if line.contains(['\r', '\n']) {
        return Err(malformed("it has more than one line"));
    }
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let (named, base64) = match (words.next(), words.next()) {
        (Some(named), Some(base64)) => (Some(named), base64),
        (only, _) => (None, only.unwrap_or_default()),
    };
    let blob = Base64::decode_vec(base64).map_err(|error| malformed(format!("it is not base64: {error}")))?;
    Ok((named, blob))
}

fn read_principals(list: &[u8]) -> Result<Vec<String>, Denial> {
    let mut cursor = Cursor::new(list);
    let mut principals = Vec::new();
    while !cursor.is_empty() {
        if principals.len() == MAX_PRINCIPALS {
            return Err(malformed(format!("it has more than {MAX_PRINCIPALS} principals")));
        }
        let principal = cursor.text().map_err(|Truncated| malformed("its principals cannot be read"))?;
        principals.push(principal.to_owned());
    }
    Ok(principals)
}

fn read_options(list: &[u8]) -> Result<Vec<CertificateOption>, Denial> {
    let unreadable = |Truncated| malformed("its options cannot be read");
    let mut cursor = Cursor::new(list);
    let mut options: Vec<CertificateOption> = Vec::new();
    while !cursor.is_empty() {
        if options.len() == MAX_OPTIONS {
            return Err(malformed(format!("it has more than {MAX_OPTIONS} options")));
        }
        let name = cursor.text().map_err(unreadable)?.to_owned();
        let data = cursor.string().map_err(unreadable)?.to_owned();
        if options.iter().any(|option| option.name == name) {
            return Err(malformed(format!("option {name:?} is there twice")));
        }
        options.push(CertificateOption { name, data });
    }
    Ok(options)
}

/// An option's value: a string nested in its data, and nothing behind it.
fn nested(data: &[u8]) -> Option<&str> {
    let mut cursor = Cursor::new(data);
    let value = cursor.text().ok()?;
    cursor.is_empty().then_some(value)
}

#[cfg(test)]
mod tests;
