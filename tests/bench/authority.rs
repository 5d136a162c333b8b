//! Logins through the authority, and what their passwords and signatures cost alone.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cotter_api::{LoginRequest, Trust};
use cotter_authority::certificate::Draft;
use cotter_authority::grant::Grant;
use cotter_authority::password::{self, Passwords};
use cotter_authority::store::{Location, Person, Store};
use lab::{AgentSetup, Lab};
use pinning::{Cidr, Observed};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::figures::Figures;
use crate::logins::milliseconds;

/// People who log in at the same time, and how many logins there are in a round.
const AT_ONCE: usize = 4;
const LOGINS: usize = 100;
/// Certificates in a round, one after the other.
const CERTIFICATES: usize = 100;
/// Whenever that is.
const ENDS_AT: u64 = 1_800_003_600;
const USER: &str = "alice";
const PASSWORD: &str = "correct horse battery staple";

/// What the authority takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figured {
    /// Milliseconds a login, of many at once: with this and the next, all processors are busy.
    pub(crate) login: f64,
    /// Milliseconds that a password's comparison and a signature take alone, of as many at once.
    pub(crate) alone: f64,
    /// Milliseconds that one who logs in waits: half of them less, and 99 of 100.
    pub(crate) waits: [f64; 2],
    /// Certificates a second, one after the other, without passwords.
    pub(crate) issued_per_s: f64,
    /// Microseconds from a person to a certificate, without a password: half of them less, and 99 of 100.
    pub(crate) issue: [f64; 2],
}

/// An authority with one user, and the same parts of it in this process.
pub(crate) struct AuthorityBench {
    lab: Lab,
    authority: lab::Authority,
    trust: Trust,
    runtime: Runtime,
    parts: Arc<Parts>,
    _directory: TempDir,
}

/// What a login is made of.
struct Parts {
    passwords: Passwords,
    hash: String,
    store: Store,
    ca: PrivateKey,
    holder: PrivateKey,
    grant: Grant,
}

impl AuthorityBench {
    /// Starts it.
    pub(crate) fn set_up() -> Result<Self> {
        let lab = Lab::start()?;
        AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]).write(&lab)?;
        let authority = lab::Authority::start(&lab, "")?;
        authority.add(USER, PASSWORD, &["--role", "pinned-ip"])?;
        let trust = Trust::Fingerprint(authority.fingerprint().parse()?);
        let runtime = Runtime::new()?;
        let directory = tempfile::tempdir()?;
        let parts = Arc::new(runtime.block_on(Parts::new(&directory))?);
        Ok(Self { lab, authority, trust, runtime, parts, _directory: directory })
    }

    /// Measures all of it once; the order changes with the rounds.
    pub(crate) fn round(&self, round: usize) -> Result<Figured> {
        let ((login, waits), alone) = if round.is_multiple_of(2) {
            (self.logins()?, self.alone()?)
        } else {
            let alone = self.alone()?;
            (self.logins()?, alone)
        };
        let (issued_per_s, issue) = self.runtime.block_on(self.parts.issue())?;
        Ok(Figured { login, alone, waits: quantiles(&waits), issued_per_s, issue: quantiles(&issue) })
    }

    /// Logs in over and over; milliseconds a login, and what each has waited.
    fn logins(&self) -> Result<(f64, Figures)> {
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?.public_key().to_openssh()?;
        let request = Arc::new(LoginRequest {
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            code: None,
            public_key: key,
            other_observation: None,
        });
        let authority = cotter_api::Authority::new(self.authority.url().parse()?, self.trust.clone());
        self.lab.alice().enter(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(at_once(move || {
                let (authority, request) = (authority.clone(), Arc::clone(&request));
                async move { Ok(authority.login(&request).await.map(drop)?) }
            }))
        })?
    }

    /// The same many times password and signature; milliseconds each.
    fn alone(&self) -> Result<f64> {
        let parts = Arc::clone(&self.parts);
        let one = move || {
            let parts = Arc::clone(&parts);
            async move {
                let right = parts.passwords.is_right(PASSWORD.to_owned(), Some(parts.hash.clone())).await?;
                ensure!(right, "the password is not right");
                parts.sign(1)
            }
        };
        Ok(self.runtime.block_on(at_once(one))?.0)
    }
}

impl Parts {
    async fn new(directory: &TempDir) -> Result<Self> {
        let store = Store::open(&Location::Sqlite(directory.path().join("authority.db"))).await?;
        let alice = Person {
            name: USER.to_owned(),
            password: None,
            totp: None,
            roles: Vec::new(),
            logins: Vec::new(),
            locked: false,
        };
        store.add_person(&alice, 0).await?;
        Ok(Self {
            passwords: Passwords::new()?,
            hash: password::hash(PASSWORD)?,
            store,
            ca: PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?,
            holder: PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?,
            grant: Grant {
                roles: vec!["pinned-ip".to_owned()],
                logins: vec![USER.to_owned()],
                lifetime: Duration::from_secs(3600),
                pinned: true,
                second_factor: false,
            },
        })
    }

    fn sign(&self, serial: u64) -> Result<()> {
        let observed = Observed::direct(std::net::IpAddr::from([198, 51, 111, 1]));
        let pins = [Cidr::single(observed.address)];
        let draft = Draft {
            key: self.holder.public_key(),
            user: USER,
            grant: &self.grant,
            pins: &pins,
            observed: Some(&observed),
            serial,
            now: ENDS_AT - 3600,
        };
        draft.builder()?.sign(&self.ca)?.to_openssh().map(drop).context("a certificate")
    }

    /// Certificates for somebody who has proven who they are, with serial numbers that outlive a power cut: how many a
    /// second, and the microseconds of each.
    async fn issue(&self) -> Result<(f64, Figures)> {
        let mut times = Vec::with_capacity(CERTIFICATES);
        let began = Instant::now();
        for _ in 0..CERTIFICATES {
            let start = Instant::now();
            let serial = self.store.certify(USER, ENDS_AT).await?.context("alice is gone")?;
            self.sign(serial)?;
            times.push(milliseconds(start.elapsed()) * 1e3);
        }
        Ok((CERTIFICATES as f64 / began.elapsed().as_secs_f64(), times.into_iter().collect()))
    }
}

/// Does something `LOGINS` times, `AT_ONCE` at a time; milliseconds each of all, and what each took by itself.
async fn at_once<F: Future<Output = Result<()>> + Send + 'static>(
    one: impl Fn() -> F + Clone + Send + 'static,
) -> Result<(f64, Figures)> {
    let start = Instant::now();
    let mut people = JoinSet::new();
    for _ in 0..AT_ONCE {
        let one = one.clone();
        people.spawn(async move {
            let mut waits = Vec::new();
            for _ in 0..LOGINS / AT_ONCE {
                let start = Instant::now();
                one().await?;
                waits.push(milliseconds(start.elapsed()));
            }
            anyhow::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(waited) = people.join_next().await {
        waits.extend(waited??);
    }
    Ok((milliseconds(start.elapsed()) / LOGINS as f64, waits.into_iter().collect()))
}

/// The median, and what 99 of 100 keep below.
fn quantiles(figures: &Figures) -> [f64; 2] {
    [figures.median(), figures.quantile(0.99)]
}
