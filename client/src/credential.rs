//! A key and its certificate: what a login leaves on this machine.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64ct::{Base64, Encoding};
use cotter_api::{Family, Issued, plain};
use jiff::Timestamp;
use pinning::{Address, Certificate, Cidr, Identity, Pins};
use signature::Signer;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};

use crate::home::{self, Drawer, HomeError};
use crate::ssh_agent::{SshAgent, SshAgentError};

/// A certificate that ends within so many seconds is as good as over: a login takes its time.
const MARGIN: u64 = 20;
/// Of one that is made to be brief, this part of its life is margin enough.
const PART: u64 = 10;

/// Why a certificate is of no use here and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// There is none.
    Missing,
    /// It is another user's, by this name.
    AnothersOwn(String),
    /// It is over, or will be before a login is through.
    Expired,
    /// It has not begun yet, by the clock here.
    Early,
    /// Its key is not there any more.
    KeyGone,
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
            Self::AnothersOwn(user) => write!(out, "your certificate is that of {}", plain(user)),
            Self::Expired => out.write_str("your certificate has expired"),
            Self::Early => out.write_str("your certificate is not valid yet: is the clock right here?"),
            Self::KeyGone => out.write_str("your key is gone: its ssh-agent has forgotten it, or is another"),
            Self::Moved { pinned, address } => {
                write!(out, "your address changed from {} to {address}", was(pinned, *address))
            }
            Self::Unknown { pinned } => {
                write!(
                    out,
                    "your certificate is pinned to {}, and nobody vouches for your address",
                    short(pinned)
                )
            }
        }
    }
}

/// Pins for people: a network of one address alone without its length.
pub fn short(pins: &Pins) -> String {
    pins.networks().iter().map(shorten).collect::<Vec<_>>().join(" and ")
}

/// The pins of the address's family, if there are any.
fn was(pins: &Pins, address: Address) -> String {
    let same = |network: &&Cidr| Family::of(network.net().addr()) == Family::of(address.ip());
    let same: Vec<String> = pins.networks().iter().filter(same).map(shorten).collect();
    if same.is_empty() { short(pins) } else { same.join(" and ") }
}

fn shorten(network: &Cidr) -> String {
    let net = network.net();
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// The families of addresses that a certificate is pinned in.
pub fn families(pins: &Pins) -> Vec<Family> {
    let of = |family| pins.networks().iter().any(|network| Family::of(network.net().addr()) == family);
    [Family::V4, Family::V6].into_iter().filter(|family| of(*family)).collect()
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

    /// That a certificate is this key's and this user's, and good at this time, Unix seconds: what lies there from before is
    /// not given up for anything else.
    ///
    /// # Errors
    /// [`CredentialError::NoCertificate`], [`CredentialError::Clock`].
    pub fn require_own(&self, certificate: &str, user: &str, now: u64) -> Result<(), CredentialError> {
        let parsed =
            Certificate::parse(certificate.trim()).map_err(|_denial| CredentialError::NoCertificate)?;
        let identity = parsed.identity();
        let own = self.0.public_key().fingerprint(HashAlg::Sha256).to_string();
        if identity.key != own || identity.key_id != user || certificate.trim().lines().count() != 1 {
            return Err(CredentialError::NoCertificate);
        }
        let Identity { valid_after: from, valid_before: until, .. } = identity;
        if (from..until).contains(&now) { Ok(()) } else { Err(CredentialError::Clock { from, until, now }) }
    }

    /// Puts it and its certificate where ssh looks for them, in place of those before.
    ///
    /// # Errors
    /// That they cannot be written.
    pub fn store(&self, issued: &Issued, drawer: &Drawer) -> Result<(), HomeError> {
        let text = self.0.to_openssh(LineEnding::LF).map_err(|error| unreadable(drawer, error))?;
        let before = handed_over(drawer)?;
        self.put(Some(&text), issued, drawer)?;
        if !before.is_empty() {
            // Whoever has no agent any more can do without.
            let _forgotten = SshAgent::connect().map(|mut agent| agent.forget(&before));
        }
        Ok(())
    }

    /// Hands it with its certificate to the ssh-agent until the certificate's end, in place of those before; written is only
    /// what is public, and the key for knocks, which lets nobody in.
    ///
    /// # Errors
    /// That there is no agent, or the files cannot be written.
    pub fn hand_over(&self, issued: &Issued, comment: &str, drawer: &Drawer) -> Result<(), CredentialError> {
        let certificate = &issued.certificate;
        let keys = self.0.key_data().ed25519().ok_or(CredentialError::NoCertificate)?;
        let end = Certificate::parse(certificate.trim()).map_err(|_denial| CredentialError::NoCertificate)?;
        let left = Duration::from_secs(end.identity().valid_before.saturating_sub(unix()));
        let certified = blob(certificate).ok_or(CredentialError::NoCertificate)?;
        // What was there before goes only when the new one is taken.
        let mut agent = SshAgent::connect()?;
        agent.add(keys, &certified, comment, left)?;
        let before = handed_over(drawer)?;
        self.put(None, issued, drawer)?;
        agent.forget(&before);
        Ok(())
    }

    /// Puts the files in their places: those of the secrets only if there are any.
    fn put(&self, private: Option<&str>, issued: &Issued, drawer: &Drawer) -> Result<(), HomeError> {
        let public = self.public().map_err(|error| unreadable(drawer, error))?;
        let certificate = issued.certificate.trim_end();
        let places = [
            (drawer.key(), private.map(str::to_owned)),
            (drawer.certificate(), Some(format!("{certificate}\n"))),
            (drawer.public(), Some(format!("{public}\n"))),
            (drawer.knock_key(), issued.knock_key.as_ref().map(|key| format!("{key}\n"))),
        ];
        let files: Vec<_> =
            places.iter().filter_map(|(path, text)| Some((path.as_path(), text.as_deref()?))).collect();
        home::write_all(&files)?;
        places.iter().filter(|(_, text)| text.is_none()).try_for_each(|(path, _)| home::remove(path))
    }
}

fn unreadable(drawer: &Drawer, error: ssh_key::Error) -> HomeError {
    HomeError::Unreadable { path: drawer.key(), why: error.to_string() }
}

/// Why a login cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Its files cannot be written.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// There is no ssh-agent to take the key.
    #[error(transparent)]
    Agent(#[from] SshAgentError),
    /// An ssh-agent still has the key, or may have it.
    #[error("the key may still be in an ssh-agent, until the certificate ends: {0}")]
    Kept(SshAgentError),
    /// The authority goes by another clock.
    #[error(
        "the certificate is good from {} until {}, and by the clock here it is {}: one of the clocks is wrong",
        moment(*.from), moment(*.until), moment(*.now)
    )]
    Clock {
        /// From when it is good, Unix seconds.
        from: u64,
        /// Until when.
        until: u64,
        /// The time here.
        now: u64,
    },
    /// The authority has sent something else.
    #[error("what the authority sent is no certificate of this key and user")]
    NoCertificate,
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Something that is needed cannot be read.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The ssh-agent, which has the key, does not sign.
    #[error(transparent)]
    Agent(#[from] SshAgentError),
    /// The key in its file does not sign.
    #[error("{0}: it does not sign: {1}; log in again")]
    Key(PathBuf, String),
}

/// The certificate's bytes, if there is one.
///
/// # Errors
/// That its file cannot be read.
pub fn certificate(drawer: &Drawer) -> Result<Option<Vec<u8>>, HomeError> {
    Ok(home::read(&drawer.certificate())?.as_deref().and_then(blob))
}

/// The signature of the certificate's key over these bytes, in SSH's encoding: by the key's file, else by the ssh-agent.
///
/// # Errors
/// See [`SignError`].
pub fn sign(bytes: &[u8], drawer: &Drawer) -> Result<Vec<u8>, SignError> {
    let path = drawer.key();
    let Some(text) = home::read(&path)? else {
        let certificate = certificate(drawer)?.unwrap_or_default();
        return Ok(SshAgent::connect()?.sign(&certificate, bytes)?);
    };
    let wrong = |why: &dyn std::fmt::Display| SignError::Key(path, why.to_string());
    let signature = PrivateKey::from_openssh(text).and_then(|key| Ok(key.try_sign(bytes)?));
    match signature.map(Vec::try_from) {
        Ok(Ok(signature)) => Ok(signature),
        Ok(Err(error)) => Err(wrong(&error)),
        Err(error) => Err(wrong(&error)),
    }
}

/// The bytes of a key or certificate as OpenSSH writes them in a line.
fn blob(line: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(line.split_whitespace().nth(1)?).ok()
}

/// A time for people, in UTC.
pub fn moment(unix: u64) -> String {
    let moment = i64::try_from(unix).ok().and_then(|unix| Timestamp::from_second(unix).ok());
    moment.map_or_else(|| "for ever".to_owned(), |moment| moment.to_string())
}

/// What the ssh-agent was handed: nothing, where the private key lies in its file.
fn handed_over(drawer: &Drawer) -> Result<Vec<Vec<u8>>, HomeError> {
    if drawer.key().exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for path in [drawer.certificate(), drawer.public()] {
        found.extend(home::read(&path)?.as_deref().and_then(blob));
    }
    Ok(found)
}

/// Removes key and certificate, from the ssh-agent too if it has them; whether there were any.
///
/// # Errors
/// That they are still there, or may be: the files are what is known of a key in an ssh-agent, and stay as long as it does.
pub fn forget(drawer: &Drawer) -> Result<bool, CredentialError> {
    let alive = identity(drawer)?.is_some_and(|identity| identity.valid_before > unix());
    // With the certificate's end the agent forgets by itself.
    if alive {
        let handed_over = handed_over(drawer)?;
        remove_from_agent(&handed_over).map_err(CredentialError::Kept)?;
    }
    Ok(drawer.empty()?)
}

/// Has the agent forget them all. One that is locked, and one that is not the one that has them, shows none.
fn remove_from_agent(blobs: &[Vec<u8>]) -> Result<(), SshAgentError> {
    if blobs.is_empty() {
        return Ok(());
    }
    let mut agent = SshAgent::connect()?;
    let mut any = false;
    for blob in blobs {
        if agent.holds(blob)? {
            agent.remove(blob)?;
            any = true;
        }
    }
    if any { Ok(()) } else { Err(SshAgentError::NotShown) }
}

/// Whether the key that belongs to the certificate can be used: it lies there, or the ssh-agent has it.
///
/// # Errors
/// That the certificate cannot be read.
pub fn has_key(drawer: &Drawer) -> Result<bool, HomeError> {
    if drawer.key().exists() {
        return Ok(true);
    }
    let line = home::read(&drawer.certificate())?.unwrap_or_default();
    let holds = |blob: Vec<u8>| SshAgent::connect()?.holds(&blob);
    Ok(blob(&line).is_some_and(|blob| holds(blob).unwrap_or(false)))
}

/// What the certificate says, if there is one that can be read.
///
/// # Errors
/// That its file cannot be read.
pub fn identity(drawer: &Drawer) -> Result<Option<Identity>, HomeError> {
    let text = home::read(&drawer.certificate())?;
    Ok(text.and_then(|text| Certificate::parse(text.trim()).ok()).map(|certificate| certificate.identity()))
}

/// Why a certificate is of no use from these addresses at this time, Unix seconds, if it is of none.
///
/// An address counts if the certificate is pinned in its family; if it is in none of them, all count: whoever was seen over
/// IPv6 alone is not where an IPv4 pin says.
pub fn unfit(identity: Option<&Identity>, addresses: &[Address], now: u64) -> Option<Unfit> {
    let Some(identity) = identity else { return Some(Unfit::Missing) };
    let margin = MARGIN.min(identity.valid_before.saturating_sub(identity.valid_after) / PART);
    if identity.valid_before <= now.saturating_add(margin) {
        return Some(Unfit::Expired);
    }
    if identity.valid_after > now {
        return Some(Unfit::Early);
    }
    let pinned = identity.pins.clone()?;
    let families = families(&pinned);
    let counts = |address: &&Address| families.contains(&Family::of(address.ip()));
    let counting: Vec<&Address> = addresses.iter().filter(counts).collect();
    let elsewhere = match &counting[..] {
        [] => addresses.first(),
        counting => counting.iter().copied().find(|address| !pinned.contains(**address)),
    };
    match elsewhere {
        Some(address) => Some(Unfit::Moved { address: *address, pinned }),
        None if addresses.is_empty() => Some(Unfit::Unknown { pinned }),
        None => None,
    }
}

/// The time, Unix seconds; 0 before 1970.
pub(crate) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use ssh_key::certificate::Builder;

    use super::*;

    fn identity(pins: Option<&str>) -> Identity {
        Identity {
            cluster: None,
            key_id: "alice".into(),
            serial: 1,
            ca: String::new(),
            key: String::new(),
            principals: vec!["alice".into()],
            pins: pins.map(|pins| pins.parse().unwrap()),
            valid_after: 0,
            valid_before: 1000,
        }
    }

    fn at(addresses: &[&str]) -> Vec<Address> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn a_certificate_fits_in_its_time_and_at_its_place() {
        let (here, there) = (at(&["198.51.111.1"]), at(&["198.51.222.2"]));
        let pinned = identity(Some("198.51.111.1/32"));
        assert_eq!(unfit(Some(&pinned), &here, 500), None);
        assert_eq!(unfit(Some(&pinned), &here, 990), Some(Unfit::Expired));
        assert_eq!(unfit(None, &here, 500), Some(Unfit::Missing));
        let moved = unfit(Some(&pinned), &there, 500).unwrap();
        assert_eq!(moved.to_string(), "your address changed from 198.51.111.1 to 198.51.222.2");
        assert!(matches!(unfit(Some(&pinned), &[], 500), Some(Unfit::Unknown { .. })));
        assert_eq!(unfit(Some(&identity(None)), &[], 500), None);
        let later = Identity { valid_after: 600, ..identity(None) };
        assert_eq!(unfit(Some(&later), &here, 500), Some(Unfit::Early));
    }

    #[test]
    fn what_is_not_this_keys_this_users_and_good_now_is_not_kept() {
        let (key, other, ca) = (NewKey::make().unwrap(), NewKey::make().unwrap(), NewKey::make().unwrap());
        let certify = |key: &NewKey, user: &str| {
            let public = key.0.public_key().key_data().clone();
            let mut builder = Builder::new_with_random_nonce(&mut OsRng, public, 1000, 2000).unwrap();
            builder.key_id(user).unwrap().valid_principal(user).unwrap();
            builder.sign(&ca.0).unwrap().to_openssh().unwrap()
        };
        let kept = |certificate: &str, now| {
            key.require_own(certificate, "alice", now).map_err(|error| error.to_string())
        };
        let own = certify(&key, "alice");
        assert_eq!(kept(&own, 1500), Ok(()));
        for wrong in [certify(&other, "alice"), certify(&key, "bob"), format!("{own}\n{own}"), "".into()] {
            assert!(
                kept(&wrong, 1500).unwrap_err().contains("no certificate of this key and user"),
                "{wrong}"
            );
        }
        for now in [999, 2000] {
            assert!(kept(&own, now).unwrap_err().contains("one of the clocks is wrong"));
        }
    }

    #[test]
    fn each_family_of_addresses_is_compared_with_its_own_pin() {
        let both = identity(Some("198.51.111.1/32,2001:db8::1/128"));
        for here in [&["198.51.111.1", "2001:db8::1"][..], &["2001:db8::1"], &["198.51.111.1"]] {
            assert_eq!(unfit(Some(&both), &at(here), 500), None, "{here:?}");
        }
        let moved = unfit(Some(&both), &at(&["198.51.111.1", "2001:db8::2"]), 500).unwrap();
        assert_eq!(moved.to_string(), "your address changed from 2001:db8::1 to 2001:db8::2");
        let one = identity(Some("198.51.111.1/32"));
        assert_eq!(unfit(Some(&one), &at(&["2001:db8::1", "198.51.111.1"]), 500), None);
        let moved = unfit(Some(&one), &at(&["2001:db8::1"]), 500).unwrap();
        assert_eq!(moved.to_string(), "your address changed from 198.51.111.1 to 2001:db8::1");
    }
}
