//! A key and its certificate: what a login leaves on this machine.

use pinning::{Address, Certificate, Cidr, Identity, Pins};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use crate::home::{Home, HomeError};

/// A certificate that ends within so many seconds is as good as over: a login takes its time.
const MARGIN: u64 = 20;
/// Of one that is made to be brief, this part of its life is margin enough.
const PART: u64 = 10;

/// Why a certificate is of no use here and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// There is none.
    Missing,
    /// It is over, or will be before a login is through.
    Expired,
    /// It is pinned elsewhere.
    Moved {
        /// Where to.
        pinned: Pins,
        /// Where we are.
        address: Address,
    },
    /// It is pinned, and the authority does not know where we are.
    Unknown {
        /// Where to.
        pinned: Pins,
    },
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => out.write_str("you are not logged in"),
            Self::Expired => out.write_str("your certificate has expired"),
            Self::Moved { pinned, address } => {
                let from: Vec<String> = pinned.networks().iter().map(short).collect();
                write!(out, "your address changed from {} to {address}", from.join(" and "))
            }
            Self::Unknown { pinned } => {
                write!(out, "your certificate is pinned to {pinned}, and nobody vouches for your address")
            }
        }
    }
}

/// A network; of one address alone, without its length.
fn short(network: &Cidr) -> String {
    let net = network.net();
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// A key that is to be certified.
pub struct NewKey(PrivateKey);

impl NewKey {
    /// Makes one, Ed25519.
    ///
    /// # Errors
    /// What `ssh_key` says.
    pub fn make() -> Result<Self, ssh_key::Error> {
        PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map(Self)
    }

    /// Its public half, as OpenSSH has it.
    ///
    /// # Errors
    /// What `ssh_key` says.
    pub fn public(&self) -> Result<String, ssh_key::Error> {
        self.0.public_key().to_openssh()
    }

    /// Puts it and its certificate where ssh looks for them.
    ///
    /// # Errors
    /// That they cannot be written.
    pub fn store(&self, certificate: &str, home: &Home) -> Result<(), HomeError> {
        let unreadable =
            |error: ssh_key::Error| HomeError::Unreadable { path: home.key(), why: error.to_string() };
        let text = self.0.to_openssh(LineEnding::LF).map_err(unreadable)?;
        // An old certificate would not fit the new key.
        home.forget()?;
        home.write(&home.key(), &text)?;
        home.write(&home.certificate(), &format!("{}\n", certificate.trim_end()))
    }
}

/// What the certificate says, if there is one.
///
/// # Errors
/// That it cannot be read.
pub fn identity(home: &Home) -> Result<Option<Identity>, HomeError> {
    let path = home.certificate();
    let Some(text) = home.read(&path)? else { return Ok(None) };
    let certificate = Certificate::parse(text.trim());
    let certificate = certificate.map_err(|denial| HomeError::Unreadable { path, why: denial.detail })?;
    Ok(Some(certificate.identity()))
}

/// Why a certificate is of no use from this address at this time, Unix seconds, if it is of none.
pub fn unfit(identity: Option<&Identity>, address: Option<Address>, now: u64) -> Option<Unfit> {
    let Some(identity) = identity else { return Some(Unfit::Missing) };
    let margin = MARGIN.min(identity.valid_before.saturating_sub(identity.valid_after) / PART);
    if identity.valid_before <= now.saturating_add(margin) {
        return Some(Unfit::Expired);
    }
    let pinned = identity.pins.clone()?;
    match address {
        Some(address) if pinned.contains(address) => None,
        Some(address) => Some(Unfit::Moved { pinned, address }),
        None => Some(Unfit::Unknown { pinned }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(pins: Option<Pins>) -> Identity {
        Identity {
            cluster: None,
            key_id: "alice".into(),
            serial: 1,
            ca: String::new(),
            key: String::new(),
            principals: vec!["alice".into()],
            pins,
            valid_after: 0,
            valid_before: 1000,
        }
    }

    #[test]
    fn a_certificate_fits_in_its_time_and_at_its_place() {
        let (here, there): (Address, Address) =
            ("198.51.111.1".parse().unwrap(), "198.51.222.2".parse().unwrap());
        let pinned = identity(Some(Pins::single(here)));
        assert_eq!(unfit(Some(&pinned), Some(here), 500), None);
        assert_eq!(unfit(Some(&pinned), Some(here), 990), Some(Unfit::Expired));
        assert_eq!(unfit(None, Some(here), 500), Some(Unfit::Missing));
        let moved = unfit(Some(&pinned), Some(there), 500).unwrap();
        assert_eq!(moved.to_string(), "your address changed from 198.51.111.1 to 198.51.222.2");
        assert!(matches!(unfit(Some(&pinned), None, 500), Some(Unfit::Unknown { .. })));
        assert_eq!(unfit(Some(&identity(None)), None, 500), None);
    }
}
