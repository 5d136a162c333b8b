//! Passwords: argon2id (RFC 9106), as many at once as there are processors, and as long for people whom nobody knows.

use std::panic::catch_unwind;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use tokio::sync::oneshot;

/// Longest password, in bytes.
pub const LONGEST: usize = 1024;
/// Passwords that may wait for a processor; who comes later is asked to come again.
const WAITING: usize = 256;

/// Why a password was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is longer than [`LONGEST`] bytes, or empty.
    #[error("a password has 1 to {LONGEST} bytes")]
    BadLength,
    /// Too many others wait.
    #[error("too many logins at once; try again in a moment")]
    Busy,
    /// The machine has no room, or the stored hash is none.
    #[error("the password cannot be compared")]
    Failed,
}

/// Compares passwords, on threads of its own: each comparison takes 19 MiB, and each thread keeps no more than one's.
#[derive(Debug, Clone)]
pub struct Passwords {
    queue: SyncSender<Job>,
    /// Of a password that nobody has.
    nobody: Arc<str>,
}

/// A password that is to be compared.
struct Job {
    password: String,
    hash: String,
    answer: oneshot::Sender<Result<bool, PasswordError>>,
}

impl Passwords {
    /// Readies it, with a hash of a random password to compare with for people whom nobody knows.
    ///
    /// # Errors
    /// [`PasswordError::Failed`] if the machine has no room for one hash, or no thread.
    pub fn new() -> Result<Self, PasswordError> {
        let nobody =
            hash(&ssh_key::rand_core::RngCore::next_u64(&mut ssh_key::rand_core::OsRng).to_string())?;
        let (sender, queue) = sync_channel(WAITING);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            let queue = Arc::clone(&queue);
            let thread = thread::Builder::new().name("password".to_owned()).spawn(move || work(&queue));
            thread.map_err(|_no_thread| PasswordError::Failed)?;
        }
        Ok(Self { queue: sender, nobody: nobody.into() })
    }

    /// Whether a password is the one of this hash; takes as long without a hash, and is never right then.
    ///
    /// # Errors
    /// That it was not compared.
    pub async fn is_right(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        require_length(&password)?;
        let is_known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.to_string());
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Job { password, hash, answer }).map_err(|unsent| match unsent {
            TrySendError::Full(_) => PasswordError::Busy,
            TrySendError::Disconnected(_) => PasswordError::Failed,
        })?;
        Ok(answered.await.map_err(|_panicked| PasswordError::Failed)?? && is_known)
    }
}

/// Compares one after the other until nobody can ask any more. Who has hung up meanwhile is not worked for.
fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { password, hash, answer }) = job else { return };
        if !answer.is_closed() {
            // The thread is to outlive whatever a stored hash may hold.
            let compared = catch_unwind(|| verify(&password, &hash)).unwrap_or(Err(PasswordError::Failed));
            let _gone = answer.send(compared);
        }
    }
}

fn require_length(password: &str) -> Result<(), PasswordError> {
    if (1..=LONGEST).contains(&password.len()) { Ok(()) } else { Err(PasswordError::BadLength) }
}

/// A password's hash in PHC form, with a salt of its own.
///
/// # Errors
/// That it is too long or empty, or the machine has no room for it.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    require_length(password)?;
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash: argon2::password_hash::phc::PasswordHash| hash.to_string())
        .map_err(|_no_room| PasswordError::Failed)
}

fn verify(password: &str, hash: &str) -> Result<bool, PasswordError> {
    let hash = PasswordHash::new(hash).map_err(|_no_hash| PasswordError::Failed)?;
    match Argon2::default().verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_other) => Err(PasswordError::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_known_is_right() {
        let passwords = Passwords::new().unwrap();
        let hash = hash("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert_eq!(passwords.is_right("correct horse".into(), Some(hash.clone())).await, Ok(true));
        assert_eq!(passwords.is_right("wrong horse".into(), Some(hash)).await, Ok(false));
        assert_eq!(passwords.is_right("correct horse".into(), None).await, Ok(false));
    }

    #[tokio::test]
    async fn what_is_no_hash_is_an_error_and_no_answer() {
        let passwords = Passwords::new().unwrap();
        assert_eq!(passwords.is_right("any".into(), Some("x".into())).await, Err(PasswordError::Failed));
        assert_eq!(passwords.is_right(String::new(), None).await, Err(PasswordError::BadLength));
        assert_eq!(passwords.is_right("x".repeat(1025), None).await, Err(PasswordError::BadLength));
    }
}
