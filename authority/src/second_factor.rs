//! The second factor: codes of six digits that change every half minute (TOTP, RFC 6238, SHA-1), as apps show them.

use totp_rs::{Builder, Secret, Totp};

/// Bytes of a secret (RFC 4226, section 4, asks for 16 and recommends 20).
const SECRET: usize = 20;

/// A shared secret that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the second factor's secret cannot be read")]
pub struct SecretError;

/// A new secret, in base32.
pub fn new_secret() -> String {
    let mut bytes = [0; SECRET];
    ssh_key::rand_core::RngCore::fill_bytes(&mut ssh_key::rand_core::OsRng, &mut bytes);
    Secret::from(&bytes[..]).to_base32()
}

/// The step of time whose code this is, if that counts at `now`, Unix seconds: half a minute early and late too, for
/// clocks and for who types slowly. A step must not count twice; that is the caller's to see to.
///
/// # Errors
/// That the secret is none.
pub fn step_of(code: &str, secret: &str, now: u64) -> Result<Option<u64>, SecretError> {
    Ok(totp(secret)?.check(code, now))
}

fn totp(secret: &str) -> Result<Totp, SecretError> {
    let secret = Secret::try_from_base32(secret).map_err(|_not_base32| SecretError)?;
    Builder::new().with_secret(secret).build().map_err(|_too_short| SecretError)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B: its codes of eight digits end with those of six.
    #[test]
    fn the_rfcs_own_codes_are_right_in_their_time() {
        let secret = Secret::from(&b"12345678901234567890"[..]).to_base32();
        for (time, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(step_of(code, &secret, time), Ok(Some(time / 30)), "{time}");
            assert_eq!(step_of(code, &secret, time + 30), Ok(Some(time / 30)), "{time}");
            assert_eq!(step_of(code, &secret, time + 90), Ok(None), "{time}");
        }
        for code in ["", "28708", "2870820", "28708a", "-87082"] {
            assert_eq!(step_of(code, &secret, 59), Ok(None), "{code:?}");
        }
    }

    #[test]
    fn a_new_secret_is_one() {
        assert_eq!(step_of("no code", &new_secret(), 0), Ok(None));
        assert_eq!(step_of("123456", "not base32!", 0), Err(SecretError));
    }
}
