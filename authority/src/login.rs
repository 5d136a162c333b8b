//! A login: who somebody is, what their roles give them, and the certificate that says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cotter_api::{Issued, LoginRequest};
use cotter_knock::FleetSecret;
use pinning::{LockSubject, Observed, Role};
use ssh_key::PublicKey;

use crate::ca::{CaKeys, SignError};
use crate::certificate::Draft;
use crate::clock;
use crate::grant::{Grant, NoGrant};
use crate::password::{PasswordError, Passwords};
use crate::second_factor;
use crate::statement::{Statement, StatementError, Witness};
use crate::store::{Person, Store, StoreError};
use crate::throttle::Throttle;

/// Longest name of a person, in bytes.
const LONGEST_NAME: usize = 256;
/// Longest public key, in bytes: RSA of 16384 bits fits.
const LONGEST_KEY: usize = 4096;
/// Fewest bits of an RSA key.
const FEWEST_BITS: usize = 2048;

/// Why a login comes to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such person, not this password, or not this code.
    #[error("wrong user, password or code")]
    Wrong,
    /// The password is right, and a role asks for a code.
    #[error("a code of your second factor is needed too")]
    CodeNeeded,
    /// A role asks for a code, and the person has nothing that shows codes.
    #[error("your role asks for a second factor, and you have none; ask your administrator")]
    NoSecondFactor,
    /// The person is kept out.
    #[error("you are locked out; ask your administrator")]
    Locked,
    /// Too many wrong tries.
    #[error("too many wrong tries; try again in {} s", .0.as_secs() + 1)]
    TooMany(Duration),
    /// The request is none.
    #[error("{0}")]
    Malformed(&'static str),
    /// What the login brings as our own statement of its other address does not count.
    #[error("the statement of your other address does not count: {0}; log in again")]
    OtherObservation(#[from] StatementError),
    /// The roles give nothing.
    #[error("{user:?} {why}")]
    NoGrant {
        /// Who.
        user: String,
        /// What is wrong with their roles.
        why: NoGrant,
    },
    /// Not now.
    #[error("too many logins at once; try again in a moment")]
    Busy,
    /// The storage fails.
    #[error("the authority's storage does not answer; nothing was issued; try again in a moment")]
    Storage(#[from] StoreError),
    /// The storage, most likely, hangs.
    #[error("the authority takes too long; nothing was issued; try again in a moment")]
    Slow,
    /// The key that signs is away.
    #[error("the authority's signing key does not answer; nothing was issued; try again in a moment")]
    Signer(#[from] SignError),
    /// The authority itself fails.
    #[error("the authority cannot do this; nothing was issued; ask your administrator")]
    Fault(String),
}

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::BadLength => Self::Wrong,
            PasswordError::Busy => Self::Busy,
            PasswordError::Failed => Self::Fault(error.to_string()),
        }
    }
}

/// All that a login goes by.
#[derive(Debug)]
pub struct Logins {
    /// People.
    pub store: Store,
    /// The cluster's name.
    pub cluster: String,
    /// The keys that sign.
    pub ca: CaKeys,
    /// What the keys for knocks are made of; none: none are given.
    pub knock_secret: Option<FleetSecret>,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// Compares passwords.
    pub passwords: Passwords,
    /// Slows down who guesses.
    pub throttle: Arc<Throttle>,
    /// States where people are, for logins over the other family of addresses.
    pub witness: Witness,
}

/// Who has proven to be somebody, and what they get.
struct Proven {
    person: Person,
    grant: Grant,
    /// Where they are in the other family of addresses.
    other: Option<Observed>,
}

impl Logins {
    /// Logs somebody in.
    ///
    /// # Errors
    /// See [`Refusal`]; of one who has not proven who they are it says nothing that is not true of anybody.
    pub async fn login(
        &self,
        request: &LoginRequest,
        observed: Option<&Observed>,
    ) -> Result<Issued, Refusal> {
        let key = read_key(&request.public_key)?;
        require_name(&request.user)?;
        let address = observed.map(|observed| observed.address);
        let wait = self.throttle.try_now(&request.user, address, Instant::now());
        if !wait.is_zero() {
            return Err(Refusal::TooMany(wait));
        }
        let proven = self.prove(request, &key, observed).await;
        match &proven {
            Ok(_) => self.throttle.forgive(&request.user, address),
            Err(Refusal::Wrong) => {}
            // Who has the password, or was not looked at, has not guessed.
            Err(_) => self.throttle.take_back(&request.user, address),
        }
        self.issue(proven?, &key, observed).await
    }

    /// Who somebody is, and what their roles give them.
    async fn prove(
        &self,
        request: &LoginRequest,
        key: &PublicKey,
        observed: Option<&Observed>,
    ) -> Result<Proven, Refusal> {
        let person = self.authenticate(request).await?;
        self.require_unlocked(&person, &[observed]).await?;
        let grant = Grant::of(&person, |name| self.roles.get(name));
        let grant = grant.map_err(|why| Refusal::NoGrant { user: person.name.clone(), why })?;
        // Before the code, which counts once: a statement that is over costs none.
        let other = self.other_address(request, key, &grant, observed)?;
        if grant.second_factor {
            self.require_code(&person, request.code.as_deref()).await?;
        }
        if let Some(it) = &other
            && !self.store.use_statement(&it.id, it.ends_at, clock::unix()).await?
        {
            return Err(StatementError::Used.into());
        }
        Ok(Proven { person, grant, other: other.map(|statement| statement.observed) })
    }

    async fn issue(
        &self,
        Proven { person, grant, other }: Proven,
        key: &PublicKey,
        observed: Option<&Observed>,
    ) -> Result<Issued, Refusal> {
        let refuse = |why| Refusal::NoGrant { user: person.name.clone(), why };
        let pins = grant.pins(observed, other.as_ref()).map_err(refuse)?;
        let (user, now) = (person.name.as_str(), clock::unix());
        let ends_at = now.saturating_add(grant.lifetime.as_secs());
        let serial = self.store.certify(user, ends_at).await?.ok_or(Refusal::Locked)?;
        // Once more: whoever was locked while the password was compared gets nothing.
        self.require_unlocked(&person, &[observed, other.as_ref()]).await?;
        let draft = Draft { key, user, grant: &grant, pins: &pins, observed, serial, now };
        let certificate = self.ca.sign(draft.builder().map_err(SignError::from)?).await?;
        let bytes = certificate.to_bytes().map_err(SignError::from)?;
        let knock_key = self.knock_secret.as_ref().map(|secret| secret.key_for(&bytes).to_text().to_string());
        let certificate = certificate.to_openssh().map_err(SignError::from)?;
        Ok(Issued {
            certificate,
            knock_key,
            serial,
            ends_at: draft.ends_at(),
            pinned: pins.iter().map(ToString::to_string).collect(),
            logins: grant.logins,
            roles: grant.roles,
            observed: observed.cloned().map(Into::into),
            other_observed: other.map(Into::into),
        })
    }

    /// Where the login's other family of addresses was seen: of who is to be pinned, and has had it observed.
    fn other_address(
        &self,
        request: &LoginRequest,
        key: &PublicKey,
        grant: &Grant,
        observed: Option<&Observed>,
    ) -> Result<Option<Statement>, StatementError> {
        match (&request.other_observation, observed) {
            (Some(token), Some(login)) if grant.pinned => {
                self.witness.read(token, key, login, clock::unix()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Takes as long for a person whom nobody knows as for one with a wrong password.
    async fn authenticate(&self, request: &LoginRequest) -> Result<Person, Refusal> {
        let person = self.store.person(&request.user).await?;
        let hash = person.as_ref().and_then(|person| person.password.clone());
        let is_right = self.passwords.is_right(request.password.clone(), hash).await?;
        match person {
            Some(person) if is_right && person.locked => Err(Refusal::Locked),
            Some(person) if is_right => Ok(person),
            _ => Err(Refusal::Wrong),
        }
    }

    /// A lock for the nodes counts here too, on whatever address it is that somebody was seen at.
    async fn require_unlocked(&self, person: &Person, seen: &[Option<&Observed>]) -> Result<(), Refusal> {
        let now = clock::unix();
        let (cluster, key_id) = (Some(self.cluster.as_str()), Some(person.name.as_str()));
        let locks = self.store.locks(&self.cluster, now).await?;
        let is_locked = |address| {
            let subject = LockSubject { cluster, key_id, address, ..LockSubject::default() };
            locks.iter().any(|lock| lock.matches(&subject, now))
        };
        let mut addresses = seen.iter().map(|seen| seen.map(|seen| seen.address));
        if addresses.any(is_locked) { Err(Refusal::Locked) } else { Ok(()) }
    }

    async fn require_code(&self, person: &Person, code: Option<&str>) -> Result<(), Refusal> {
        let Some(secret) = &person.totp else { return Err(Refusal::NoSecondFactor) };
        let Some(code) = code else { return Err(Refusal::CodeNeeded) };
        let wait = self.throttle.try_code(&person.name, Instant::now());
        if !wait.is_zero() {
            return Err(Refusal::TooMany(wait));
        }
        let step = second_factor::step_of(code, secret, clock::unix());
        match step.map_err(|error| Refusal::Fault(format!("{:?}: {error}", person.name)))? {
            Some(step) if self.store.use_step(&person.name, step).await? => Ok(()),
            Some(_) | None => Err(Refusal::Wrong),
        }
    }
}

fn require_name(user: &str) -> Result<(), Refusal> {
    if user.is_empty() || user.len() > LONGEST_NAME || user.chars().any(char::is_control) {
        return Err(Refusal::Malformed("a user name has 1 to 256 bytes, and no control characters"));
    }
    Ok(())
}

/// A key that a certificate may be made for.
pub(crate) fn read_key(text: &str) -> Result<PublicKey, Refusal> {
    if text.len() > LONGEST_KEY {
        return Err(Refusal::Malformed("the public key is longer than 4096 bytes"));
    }
    let key = PublicKey::from_openssh(text)
        .map_err(|_no_key| Refusal::Malformed("public_key is no public key in OpenSSH's form"))?;
    let data = key.key_data();
    let is_modern = data.is_ed25519() || data.is_ecdsa() || data.is_sk_ed25519() || data.is_sk_ecdsa_p256();
    if is_modern || data.rsa().is_some_and(|rsa| bits(&rsa.n) >= FEWEST_BITS) {
        Ok(key)
    } else {
        Err(Refusal::Malformed("no certificates are made for keys of this kind: use Ed25519"))
    }
}

fn bits(number: &ssh_key::Mpint) -> usize {
    number.as_positive_bytes().map_or(0, |bytes| bytes.len() * 8)
}
