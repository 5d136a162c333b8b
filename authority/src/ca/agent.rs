//! A key behind an ssh-agent (draft-miller-ssh-agent): the agent signs, and nobody can take the key away.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use signature::{Signer, Verifier};
use ssh_key::certificate::Builder;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, Certificate, PublicKey, Signature};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::AgentError;
use super::{CaError, SignError};

const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const FAILURE: u8 = 5;
/// Of an RSA key: with SHA-512, for sshd takes no certificate that is signed with SHA-1.
const RSA_SHA2_512: u32 = 4;
/// Longest answer: a signature of RSA with 16384 bits has 2 KiB.
const LONGEST: u32 = 16 * 1024;
/// Longest wait for a signature, in seconds; TPMs take half of one.
const PATIENCE: u64 = 5;
/// Signatures that are asked for at once; agents make one after the other.
const AT_ONCE: usize = 8;

/// A key that an agent has.
#[derive(Debug, Clone)]
pub(super) struct AgentKey {
    public: PublicKey,
    /// As the agent knows it.
    blob: Arc<[u8]>,
    socket: PathBuf,
    places: Arc<Semaphore>,
}

impl AgentKey {
    pub(super) fn new(public: PublicKey, socket: &Path) -> Result<Self, CaError> {
        let blob =
            public.to_bytes().map_err(|why| CaError::NoKey { path: socket.into(), why: why.to_string() })?;
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Ok(Self { public, blob: blob.into(), socket: socket.into(), places })
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) async fn sign(&self, builder: Builder) -> Result<Certificate, SignError> {
        let failed = |why| SignError::Agent { socket: self.socket.clone(), why };
        let place = timeout(Duration::from_secs(PATIENCE), Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(failed(AgentError::Busy)) };
        let (key, runtime) = (self.clone(), Handle::current());
        let signed = tokio::task::spawn_blocking(move || {
            let _place = place;
            let asking = Asking { key: &key, runtime, failure: RefCell::new(None) };
            let signed = builder.sign(&asking);
            signed.map_err(|error| asking.failure.take().ok_or(error))
        });
        match signed.await {
            Ok(Ok(certificate)) => Ok(certificate),
            Ok(Err(Ok(why))) => Err(failed(why)),
            Ok(Err(Err(unfit))) => Err(unfit.into()),
            Err(_panicked) => Err(failed(AgentError::Malformed)),
        }
    }

    fn ask(&self, message: &[u8], runtime: &Handle) -> Result<Signature, AgentError> {
        let asked = timeout(Duration::from_secs(PATIENCE), exchange(&self.socket, self.request(message)));
        let answer = runtime.block_on(asked).map_err(|_elapsed| AgentError::Slow(PATIENCE))??;
        let signature = read(&answer)?;
        self.public.key_data().verify(message, &signature).map_err(|_other| AgentError::Wrong)?;
        Ok(signature)
    }

    fn request(&self, message: &[u8]) -> Vec<u8> {
        let flags = if matches!(self.public.algorithm(), Algorithm::Rsa { .. }) { RSA_SHA2_512 } else { 0 };
        let mut content = vec![SIGN_REQUEST];
        for part in [&self.blob, message] {
            content.extend(length(part));
            content.extend(part);
        }
        content.extend(flags.to_be_bytes());
        [&length(&content)[..], &content].concat()
    }
}

/// A question to an agent, in the form of a key that signs.
struct Asking<'k> {
    key: &'k AgentKey,
    runtime: Handle,
    /// What a `signature::Error` does not tell.
    failure: RefCell<Option<AgentError>>,
}

impl Signer<Signature> for Asking<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, signature::Error> {
        self.key.ask(message, &self.runtime).map_err(|error| {
            self.failure.replace(Some(error));
            signature::Error::new()
        })
    }
}

impl From<&Asking<'_>> for KeyData {
    fn from(asking: &Asking<'_>) -> Self {
        asking.key.public.key_data().clone()
    }
}

async fn exchange(socket: &Path, request: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&request).await?;
    let length = stream.read_u32().await?;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {length} bytes")));
    }
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn read(answer: &[u8]) -> Result<Signature, AgentError> {
    match answer.split_first() {
        Some((&SIGN_RESPONSE, content)) => {
            let (length, signature) = content.split_first_chunk::<4>().ok_or(AgentError::Malformed)?;
            if u32::from_be_bytes(*length) as usize != signature.len() {
                return Err(AgentError::Malformed);
            }
            Signature::try_from(signature).map_err(|_no_signature| AgentError::Malformed)
        }
        Some((&FAILURE, _)) => Err(AgentError::Refused),
        Some(_) | None => Err(AgentError::Malformed),
    }
}

/// A length as the protocol has it; what is signed here is far shorter than 4 GiB.
fn length(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use ssh_key::PrivateKey;
    use ssh_key::rand_core::OsRng;
    use tokio::net::UnixListener;

    use super::*;

    fn key() -> PrivateKey {
        PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap()
    }

    /// What comes of a certificate for which an agent, asked once, gives a signature by `signs` of `message`, or of what
    /// it was asked for.
    async fn signed(
        own: &PrivateKey,
        signs: PrivateKey,
        message: Option<&'static [u8]>,
    ) -> Result<Certificate, SignError> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        let blob = own.public_key().to_bytes().unwrap().len();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; stream.read_u32().await.unwrap() as usize];
            stream.read_exact(&mut request).await.unwrap();
            // Kind, key, message, flags.
            let asked = &request[1 + 4 + blob + 4..request.len() - 4];
            let signature = signs.try_sign(message.unwrap_or(asked)).unwrap();
            let mut content = Vec::new();
            for part in [b"ssh-ed25519".as_slice(), signature.as_bytes()] {
                content.extend([&length(part)[..], part].concat());
            }
            let answer = [&[SIGN_RESPONSE][..], &length(&content), &content].concat();
            stream.write_all(&[&length(&answer)[..], &answer].concat()).await.unwrap();
        });
        let holder = key();
        let mut builder = Builder::new_with_random_nonce(&mut OsRng, holder.public_key(), 1, 2).unwrap();
        builder.valid_principal("alice").unwrap();
        AgentKey::new(own.public_key().clone(), &socket).unwrap().sign(builder).await
    }

    #[tokio::test]
    async fn only_the_keys_own_signature_of_this_certificate_becomes_one() {
        let own = key();
        let certificate = signed(&own, own.clone(), None).await.unwrap();
        assert_eq!(certificate.signature_key(), own.public_key().key_data());
        for (signs, message) in [(key(), None), (own.clone(), Some(b"something else".as_slice()))] {
            let error = signed(&own, signs, message).await.unwrap_err();
            assert!(matches!(error, SignError::Agent { why: AgentError::Wrong, .. }), "{error}");
        }
    }

    #[test]
    fn what_is_no_signature_is_an_error() {
        for answer in
            [&[][..], &[14], &[14, 0, 0, 0, 1], &[14, 0, 0, 0, 0], &[14, 255, 255, 255, 255, 1], &[99]]
        {
            assert!(matches!(read(answer), Err(AgentError::Malformed)), "{answer:?}");
        }
        assert!(matches!(read(&[5]), Err(AgentError::Refused)));
    }
}
