//! Which node a knock is for: the fingerprint of its SSH host key.

use std::fmt;
use std::str::FromStr;

use ssh_key::{HashAlg, PublicKey};

/// SHA-256 of a public key in wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

/// Why there is no fingerprint in a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// It is no public key.
    #[error("not a line of an OpenSSH public key, such as `ssh-ed25519 AAAA…`: {0}")]
    Key(String),
    /// It is no fingerprint.
    #[error("not a fingerprint, `SHA256:` and 43 characters of base64, as `ssh-keygen -l` shows it")]
    Text,
}

impl Fingerprint {
    /// That of a key in a line as OpenSSH writes them: `ssh-ed25519 AAAA… [comment]`. A line of a certificate is none.
    ///
    /// # Errors
    /// [`FingerprintError::Key`].
    pub fn of_line(line: &str) -> Result<Self, FingerprintError> {
        let key = PublicKey::from_openssh(line.trim());
        let key = key.map_err(|error| FingerprintError::Key(error.to_string()))?;
        key.fingerprint(HashAlg::Sha256).sha256().map(Self).ok_or(FingerprintError::Text)
    }
}

impl fmt::Display for Fingerprint {
    /// As `ssh-keygen -l` shows it: `SHA256:…`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        ssh_key::Fingerprint::Sha256(self.0).fmt(out)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.trim().parse().ok().and_then(ssh_key::Fingerprint::sha256);
        parsed.map(Self).ok_or(FingerprintError::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqK root@node1\n";

    #[test]
    fn a_fingerprint_is_read_as_it_is_shown() {
        let node = Fingerprint::of_line(LINE).unwrap();
        assert!(node.to_string().starts_with("SHA256:"));
        assert_eq!(node.to_string().len(), 50);
        assert_eq!(node.to_string().parse(), Ok(node));
        assert_eq!(format!(" {node}\n").parse(), Ok(node));
    }

    #[test]
    fn what_is_no_key_and_no_fingerprint_is_refused() {
        for line in ["", "ssh-ed25519", "ssh-rsa AAAA", &LINE.replace("ssh-ed25519 ", "ssh-rsa ")] {
            assert!(matches!(Fingerprint::of_line(line), Err(FingerprintError::Key(_))), "{line}");
        }
        let node = Fingerprint::of_line(LINE).unwrap().to_string();
        for text in ["", "SHA256:", "SHA512:AAAA", &node[1..], &node[..49], &format!("{node}A")] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError::Text), "{text}");
        }
    }
}
