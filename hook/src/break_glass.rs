//! Keys that get in when everything else of ours is broken.

use std::path::Path;

use crate::trusted_file::{self, FileError};

/// The most bytes of a key file.
const MAX_FILE: u64 = 256 * 1024;

/// Whether a key proven in this login is in the break-glass file. Fails if the file is there but not believed.
///
/// `auth_info` is `SSH_AUTH_INFO_0`. A key is told by type and base64 text: sshd takes no other spelling of the
/// same key. Certificates never match, nor do the file's `cert-authority` lines.
pub fn is_used(file: &Path, auth_info: &[u8]) -> Result<bool, FileError> {
    let mut keys = auth_info.split(|&byte| byte == b'\n').filter_map(proven_key).peekable();
    if keys.peek().is_none() {
        return Ok(false);
    }
    match trusted_file::read(file, MAX_FILE) {
        Ok(content) => Ok(keys.any(|key| authorized_keys(&content).any(|authorized| authorized == key))),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error),
    }
}

/// How many keys a file holds that get in.
pub fn keys(content: &[u8]) -> usize {
    authorized_keys(content).count()
}

/// The keys that `cert-authority` makes authorities in a file of sshd's: type, base64 text and comment of each.
pub fn authorities(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|&byte| byte == b'\n').filter_map(|line| {
        let line = line.trim_ascii();
        let (options, rest) = line.split_at_checked(options_len(line))?;
        (!line.starts_with(b"#") && key_at_start(line).is_none() && is_authority(options))
            .then(|| rest.trim_ascii())
    })
}

/// A public key: its type and its base64 text.
type Key<'a> = (&'a [u8], &'a [u8]);

/// The key of a line `publickey <type> <base64>`.
fn proven_key(line: &[u8]) -> Option<Key<'_>> {
    let mut words = words(line);
    let is_key = words.next()? == b"publickey";
    let key = (words.next()?, words.next()?);
    (is_key && words.next().is_none() && is_plain_type(key.0)).then_some(key)
}

/// The keys of a file in the format of sshd(8), AUTHORIZED_KEYS FILE FORMAT.
fn authorized_keys(content: &[u8]) -> impl Iterator<Item = Key<'_>> {
    content.split(|&byte| byte == b'\n').filter_map(|line| {
        let line = line.trim_ascii();
        if line.starts_with(b"#") {
            return None;
        }
        key_at_start(line).or_else(|| {
            let (options, rest) = line.split_at_checked(options_len(line))?;
            if is_authority(options) { None } else { key_at_start(rest) }
        })
    })
}

fn key_at_start(line: &[u8]) -> Option<Key<'_>> {
    let mut words = words(line);
    let key = (words.next()?, words.next()?);
    is_plain_type(key.0).then_some(key)
}

/// The length of the options: up to the first blank outside of quotes. `\"` does not end a quote.
fn options_len(line: &[u8]) -> usize {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let end = line.iter().position(|&byte| {
        match byte {
            b' ' | b'\t' if !is_quoted => return true,
            b'"' if !is_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        is_escaped = byte == b'\\';
        false
    });
    end.unwrap_or(line.len())
}

/// Whether the options make the line's key one that signs certificates. Errs on the side of yes.
fn is_authority(options: &[u8]) -> bool {
    let word = b"cert-authority";
    options.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// A type that a plain key can have: no options, no certificate.
fn is_plain_type(word: &[u8]) -> bool {
    let starts = [&b"ssh-"[..], b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-sha2-"];
    let is_type = starts.iter().any(|start| word.starts_with(start));
    is_type && !word.windows(6).any(|window| window == b"-cert-")
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn used(file: &str, auth_info: &str) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        fs::write(&path, file).unwrap();
        is_used(&path, auth_info.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_of_the_file_matches_whatever_surrounds_it() {
        let proven = "publickey ssh-ed25519 AAAAkey=\n";
        for file in [
            "ssh-ed25519 AAAAkey=",
            "  ssh-ed25519\tAAAAkey= ops on call\r\n",
            "# spare keys\n\nssh-rsa AAAAother=\nssh-ed25519 AAAAkey= x\n",
            "from=\"10.0.0.0/8\",no-pty ssh-ed25519 AAAAkey=\n",
            "command=\"echo \\\" ssh-ed25519 AAAAno=\" ssh-ed25519 AAAAkey=\n",
        ] {
            assert!(used(file, proven), "{file:?}");
        }
        assert!(used("ssh-ed25519 AAAAkey=", &format!("publickey ssh-rsa AAAAx=\n{proven}password\n")));
    }

    #[test]
    fn nothing_else_matches() {
        let proven = "publickey ssh-ed25519 AAAAkey=\n";
        for file in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAAkey",
            "ssh-ed25519 AAAAkey==",
            "ssh-rsa AAAAkey=",
            "#ssh-ed25519 AAAAkey=",
            "cert-authority ssh-ed25519 AAAAkey=",
            "no-pty,Cert-Authority ssh-ed25519 AAAAkey=",
            "command=\"ssh-ed25519 AAAAkey=\" ssh-ed25519 AAAAother=",
            "command=\"unclosed ssh-ed25519 AAAAkey=",
            "ssh-ed25519 AAAAother= ssh-ed25519 AAAAkey=",
        ] {
            assert!(!used(file, proven), "{file:?}");
        }
        let file = "ssh-ed25519 AAAAkey=\nssh-ed25519-cert-v01@openssh.com AAAAcert=\n";
        for info in [
            "",
            "password\n",
            "publickey\n",
            "publickey ssh-ed25519\n",
            "hostbased ssh-ed25519 AAAAkey=\n",
            "publickey ssh-ed25519 AAAAkey= more\n",
            "publickey ssh-ed25519-cert-v01@openssh.com AAAAcert=\n",
        ] {
            assert!(!used(file, info), "{info:?}");
        }
    }

    #[test]
    fn authorities_are_told_from_keys() {
        let content = b"ssh-ed25519 AAAAkey= cert-authority\n# cert-authority ssh-ed25519 AAAAno=\n\
            cert-authority ssh-ed25519 AAAAone= ca\n  no-pty,Cert-Authority,principals=\"a b\" ssh-rsa AAAAtwo=\r\n";
        let found: Vec<_> = authorities(content).collect();
        assert_eq!(found, [&b"ssh-ed25519 AAAAone= ca"[..], b"ssh-rsa AAAAtwo="]);
        assert_eq!(keys(content), 1);
    }

    #[test]
    fn a_missing_file_has_no_keys_and_a_writable_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let proven = b"publickey ssh-ed25519 AAAAkey=\n";
        assert!(!is_used(&path, proven).unwrap());
        fs::write(&path, "ssh-ed25519 AAAAkey=\n").unwrap();
        assert!(is_used(&path, proven).unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        assert!(is_used(&path, proven).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        for byte in 0..=u8::MAX {
            let content = [b'"', byte, b' ', byte, b'\\', byte, b'\n', b' ', byte];
            assert_eq!(authorized_keys(&content).count(), 0);
            assert_eq!(proven_key(&content), None);
        }
    }
}
