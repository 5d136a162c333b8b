//! The key by which this node vouches for its users.

use std::fs;
use std::io;
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::daemon::replace;

/// In the state directory, for root's eyes alone.
const FILE: &str = "relay_key";

/// The key, which is made when it is first asked for.
///
/// # Errors
/// It cannot be read, is none, or cannot be written.
pub(crate) fn load_or_make(state_dir: &Path) -> io::Result<PrivateKey> {
    let file = state_dir.join(FILE);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    match fs::read_to_string(&file).map(Zeroizing::new) {
        Ok(text) => PrivateKey::from_openssh(text.as_str()).map_err(io::Error::other).map_err(named),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = made()?;
            let text = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
            replace(&file, text.as_bytes(), 0o600).map_err(named)?;
            Ok(key)
        }
        Err(error) => Err(named(error)),
    }
}

/// What stands behind `key` at the nodes that trust it.
///
/// # Errors
/// It cannot be written as OpenSSH does.
pub(crate) fn public_line(key: &PrivateKey) -> io::Result<String> {
    let mut public = key.public_key().clone();
    public.set_comment("");
    public.to_openssh().map_err(io::Error::other)
}

fn made() -> io::Result<PrivateKey> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom(seed.as_mut(), GetRandomFlags::empty())?;
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), "").map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let line = public_line(&load_or_make(dir.path()).unwrap()).unwrap();
        assert!(line.starts_with("ssh-ed25519 AAAA"), "{line}");
        assert_eq!(public_line(&load_or_make(dir.path()).unwrap()).unwrap(), line);
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(dir.path().join(FILE), "no key").unwrap();
        assert!(load_or_make(dir.path()).unwrap_err().to_string().contains(FILE));
    }
}
