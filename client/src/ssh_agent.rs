//! The user's ssh-agent, as far as a login needs one: it takes a key with its certificate for a time, tells whether it still
//! has it, signs knocks with it, and lets it go (draft-ietf-sshm-ssh-agent, sections 5 and 6).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ssh_key::private::Ed25519Keypair;

/// Longest wait for an agent; it asks nobody for what is asked of it here.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer, in bytes, as OpenSSH has it.
const LONGEST: usize = 256 * 1024;

const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const REMOVE_IDENTITY: u8 = 18;
const ADD_ID_CONSTRAINED: u8 = 25;
const CONSTRAIN_LIFETIME: u8 = 1;

const PLAIN: &str = "ssh-ed25519";
const CERTIFIED: &str = "ssh-ed25519-cert-v01@openssh.com";

/// Why an agent is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SshAgentError {
    /// Nobody says where it is.
    #[error("no ssh-agent runs here: SSH_AUTH_SOCK is not set")]
    None,
    /// It does not answer.
    #[error("ssh-agent at {0}: {1}")]
    Failed(String, io::Error),
    /// It does not show what is looked for.
    #[error("this one does not show it; it may be locked, or not the one")]
    NotShown,
    /// It does not want to.
    #[error("the ssh-agent refuses to {0}")]
    Refuses(&'static str),
}

/// A connection to the user's agent.
#[derive(Debug)]
pub struct SshAgent {
    stream: UnixStream,
    path: String,
}

impl SshAgent {
    /// The one that `SSH_AUTH_SOCK` names.
    ///
    /// # Errors
    /// That there is none.
    pub fn connect() -> Result<Self, SshAgentError> {
        let path = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
        let path = path.ok_or(SshAgentError::None)?;
        let shown = path.to_string_lossy().into_owned();
        let connect = || {
            let stream = UnixStream::connect(&path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = connect().map_err(|error| SshAgentError::Failed(shown.clone(), error))?;
        Ok(Self { stream, path: shown })
    }

    /// Hands it a key, alone and with its certificate, as `ssh-add` does; it forgets both after the lifetime.
    ///
    /// # Errors
    /// See [`SshAgentError`].
    pub fn add(
        &mut self,
        key: &Ed25519Keypair,
        certificate: &[u8],
        comment: &str,
        lifetime: Duration,
    ) -> Result<(), SshAgentError> {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).max(1);
        let halves = |message: Message| message.text(&key.public.0).text(&key.to_bytes());
        let plain = halves(Message::new(ADD_ID_CONSTRAINED).text(PLAIN.as_bytes()));
        let certified = Message::new(ADD_ID_CONSTRAINED).text(CERTIFIED.as_bytes()).text(certificate);
        let limited =
            |message: Message| message.text(comment.as_bytes()).byte(CONSTRAIN_LIFETIME).number(seconds);
        self.asked(&limited(plain), "keep a key for a time")?;
        let kept = self.asked(&limited(halves(certified)), "keep a certificate for a time");
        if kept.is_err() {
            // Of no use alone.
            let _kept = self.remove(&Message(Vec::new()).text(PLAIN.as_bytes()).text(&key.public.0).0);
        }
        kept
    }

    /// Whether it has this key or certificate.
    ///
    /// # Errors
    /// See [`SshAgentError`].
    pub fn holds(&mut self, blob: &[u8]) -> Result<bool, SshAgentError> {
        let answer = self.ask(&Message::new(REQUEST_IDENTITIES))?;
        match answer.split_first() {
            Some((&IDENTITIES_ANSWER, listed)) => Ok(lists(listed, blob)),
            _ => Err(SshAgentError::Refuses("list its keys")),
        }
    }

    /// Has it sign with this key or certificate's key; the signature in SSH's encoding.
    ///
    /// # Errors
    /// See [`SshAgentError`]; also that it does not have the key, or somebody said no.
    pub fn sign(&mut self, blob: &[u8], data: &[u8]) -> Result<Vec<u8>, SshAgentError> {
        let answer = self.ask(&Message::new(SIGN_REQUEST).text(blob).text(data).number(0))?;
        match answer.split_first() {
            Some((&SIGN_RESPONSE, mut signature)) => text(&mut signature).map(<[u8]>::to_vec),
            _ => None,
        }
        .ok_or(SshAgentError::Refuses("sign with your key"))
    }

    /// Has it forget a key or certificate.
    ///
    /// # Errors
    /// See [`SshAgentError`]; also that it had none.
    pub fn remove(&mut self, blob: &[u8]) -> Result<(), SshAgentError> {
        self.asked(&Message::new(REMOVE_IDENTITY).text(blob), "forget a key")
    }

    /// Has it forget what it may have forgotten already.
    pub fn forget(&mut self, blobs: &[Vec<u8>]) {
        for blob in blobs {
            let _forgotten = self.remove(blob);
        }
    }

    fn asked(&mut self, message: &Message, what: &'static str) -> Result<(), SshAgentError> {
        match self.ask(message)?.first() {
            Some(&SUCCESS) => Ok(()),
            Some(&FAILURE) | Some(_) | None => Err(SshAgentError::Refuses(what)),
        }
    }

    fn ask(&mut self, message: &Message) -> Result<Vec<u8>, SshAgentError> {
        let mut exchange = || {
            self.stream.write_all(&u32::try_from(message.0.len()).unwrap_or(u32::MAX).to_be_bytes())?;
            self.stream.write_all(&message.0)?;
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length) as usize;
            if length > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is too long"));
            }
            let mut answer = vec![0; length];
            self.stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        exchange().map_err(|error| SshAgentError::Failed(self.path.clone(), error))
    }
}

/// A message in the making: bytes, numbers in network order, texts with their length before them.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u8) -> Self {
        Self(vec![kind])
    }

    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn number(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn text(mut self, text: &[u8]) -> Self {
        // No text of ours comes near four gigabytes.
        self = self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend(text);
        self
    }
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    usize::try_from(u32::from_be_bytes(*number)).ok()
}

fn text<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = number(bytes)?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(text)
}

/// Whether the list of an agent's keys, each with a comment behind it, holds this one.
fn lists(mut listed: &[u8], blob: &[u8]) -> bool {
    let count = number(&mut listed).unwrap_or_default();
    // A count that lies ends where the bytes do.
    for _ in 0..count {
        let (Some(key), Some(_comment)) = (text(&mut listed), text(&mut listed)) else { return false };
        if key == blob {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_keys_is_read_to_its_end_and_no_further() {
        let list = |count| {
            let message = Message(Vec::new()).number(count);
            message.text(b"one").text(b"comment").text(b"two").text(b"").0
        };
        assert!(lists(&list(2), b"one"));
        assert!(lists(&list(2), b"two"));
        assert!(!lists(&list(2), b"comment"));
        assert!(!lists(&list(1), b"two"));
        assert!(!lists(&list(u32::MAX), b"three"));
        assert!(!lists(&[0, 0, 0, 1, 255, 255, 255, 255, 1], b"one"));
        assert!(!lists(&[], b"one"));
    }
}
