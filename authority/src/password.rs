//! Passwords: argon2id (RFC 9106), as many at once as there are processors, and as long for people whom nobody knows.

use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use tokio::sync::Semaphore;

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

/// Compares passwords.
#[derive(Debug, Clone)]
pub struct Passwords {
    processors: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Of a password that nobody has.
    nobody: Arc<str>,
}

impl Passwords {
    /// Readies it, with a hash of a random password to compare with for people whom nobody knows.
    ///
    /// # Errors
    /// [`PasswordError::Failed`] if the machine has no room for one hash.
    pub fn new() -> Result<Self, PasswordError> {
        let processors = available_parallelism().map_or(1, usize::from);
        let nobody =
            hash(&ssh_key::rand_core::RngCore::next_u64(&mut ssh_key::rand_core::OsRng).to_string())?;
        Ok(Self {
            processors: Arc::new(Semaphore::new(processors)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            nobody: nobody.into(),
        })
    }

    /// Whether a password is the one of this hash; takes as long without a hash, and is never right then.
    ///
    /// # Errors
    /// That it was not compared.
    pub async fn is_right(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        require_length(&password)?;
        let _place = self.waiting.try_acquire().map_err(|_full| PasswordError::Busy)?;
        let processor = Arc::clone(&self.processors).acquire_owned().await;
        let processor = processor.map_err(|_closed| PasswordError::Failed)?;
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.to_string());
        // Who hangs up meanwhile does not make room for another comparison, which takes 19 MiB, before this one has ended.
        let compare = move || {
            let _processor = processor;
            verify(&password, &hash)
        };
        let compared = tokio::task::spawn_blocking(compare).await;
        Ok(compared.map_err(|_panicked| PasswordError::Failed)?? && known)
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
