//! `lock`, `unlock`, `locks`: who is kept out, here and at the nodes.

use clap::Args;
use pinning::{Cidr, Lock, LockTarget, parse_duration};
use serde_json::json;

use super::user::failure;
use super::{Common, Failure};
use crate::audit::{Subject, What};
use crate::clock;
use crate::config::Config;
use crate::store::{Store, new_id, person_of};

/// Longest reason, in bytes.
const LONGEST_REASON: usize = 512;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    target: Target,
    /// For how long, such as 1h; without it, until unlocked
    #[arg(long = "for", value_name = "DURATION", value_parser = seconds)]
    seconds: Option<u64>,
    /// Why; it is shown to administrators
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = short)]
    reason: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// A person of this authority; of a trusted cluster: CLUSTER/KEYID
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// An account of the nodes, whoever uses it
    #[arg(long, value_name = "LOGIN")]
    login: Option<String>,
    /// A certificate of this authority by its serial number
    #[arg(long, value_name = "N")]
    serial: Option<u64>,
    /// Observed addresses
    #[arg(long, value_name = "CIDR")]
    address: Option<Cidr>,
}

#[derive(Debug, Args)]
pub(super) struct Unlock {
    /// The lock's id, as `locks` lists it
    lock: String,
}

/// Every node gets it.
fn short(text: &str) -> Result<String, String> {
    if text.len() <= LONGEST_REASON {
        Ok(text.to_owned())
    } else {
        Err(format!("longer than {LONGEST_REASON} bytes"))
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    parse_duration(text)
        .map(|duration| duration.as_secs())
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| format!("{text:?} is no duration: 90s, 5m, 1h"))
}

impl Target {
    fn resolve(self, config: &Config) -> Result<LockTarget, Failure> {
        let own = || config.name.clone();
        match self {
            Self { user: Some(user), .. } => match user.split_once('/') {
                Some((cluster, _)) if cluster == config.name || config.trusts(cluster) => {
                    LockTarget::user(&user).map_err(Failure::usage)
                }
                _ if user.is_empty() => Err(Failure::usage("--user is empty")),
                _ => Ok(LockTarget::User { cluster: own(), key_id: user }),
            },
            Self { login: Some(login), .. } => Ok(LockTarget::Login(login)),
            Self { serial: Some(serial), .. } => Ok(LockTarget::Serial { serial, cluster: Some(own()) }),
            Self { address: Some(address), .. } => Ok(LockTarget::Address(address)),
            Self { .. } => Err(Failure::usage("nothing to lock is named")),
        }
    }
}

pub(super) async fn lock(common: &Common, options: Options) -> Result<(), Failure> {
    let (config, store) = common.open().await?;
    let created = clock::unix();
    let lock = Lock {
        id: new_id(),
        target: options.target.resolve(&config)?,
        until: options.seconds.map(|seconds| created.saturating_add(seconds)),
        reason: options.reason,
        created,
    };
    let audit = common.audit(&config)?;
    store.lock(&lock).await.map_err(|error| failure(&store, &error))?;
    audit.write(locked(&lock), Subject::default());
    note_a_stranger(&config, &store, &lock).await?;
    if common.json {
        println!("{}", json!({ "lock": lock }));
    } else {
        println!("lock {}: {} locked", lock.id, lock.target);
    }
    Ok(())
}

/// The event of a lock: written by who lays it, once, wherever authorities run.
pub(super) fn locked(lock: &Lock) -> What {
    What::Locked { lock: lock.id.clone(), target: lock.target.to_string(), comment: lock.reason.clone() }
}

/// A name may be misspelt, or that of somebody who was removed.
async fn note_a_stranger(config: &Config, store: &Store, lock: &Lock) -> Result<(), Failure> {
    if let LockTarget::User { cluster, key_id } = &lock.target
        && *cluster == config.name
        && store.person(key_id).await.map_err(|error| failure(store, &error))?.is_none()
    {
        eprintln!("cotter-authority: locked, and yet there is no user {key_id:?}");
    }
    Ok(())
}

pub(super) async fn unlock(common: &Common, which: &Unlock) -> Result<(), Failure> {
    let (config, store) = common.open().await?;
    if let Some(name) = person_of(&which.lock) {
        return Err(Failure::refused(format!("a user is locked: cotter-authority user unlock {name}")));
    }
    let audit = common.audit(&config)?;
    if !store.unlock(&which.lock).await.map_err(|error| failure(&store, &error))? {
        return Err(Failure::refused(format!("there is no lock {:?}", which.lock)));
    }
    audit.write(What::Unlocked { lock: which.lock.clone() }, Subject::default());
    if common.json {
        println!("{}", json!({ "unlocked": which.lock }));
    } else {
        println!("lock {} taken away", which.lock);
    }
    Ok(())
}

pub(super) async fn locks(common: &Common) -> Result<(), Failure> {
    let (config, store) = common.open().await?;
    let locks = store.locks(&config.name, clock::unix()).await.map_err(|error| failure(&store, &error))?;
    if common.json {
        println!("{}", json!(locks));
        return Ok(());
    }
    for Lock { id, target, until, reason, .. } in locks {
        let until = until.map_or_else(String::new, |until| format!("  until {until} (Unix seconds)"));
        let reason = if reason.is_empty() { reason } else { format!("  {reason}") };
        println!("{id}  {target}{until}{reason}");
    }
    Ok(())
}
