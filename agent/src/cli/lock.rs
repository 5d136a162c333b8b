//! `lock`, `unlock`, `locks`.

use super::exit::Failure;
use super::{Common, Exit, client, mode, output};
use crate::daemon::call::{Answer, Call};
use crate::session::SessionId;
use pinning::{Lock, LockTarget};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    target: Target,
    /// For how long, such as 1h; without it, until unlocked
    #[arg(long = "for", value_name = "DURATION", value_parser = mode::seconds)]
    seconds: Option<u64>,
    /// Why; it is shown to administrators
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// A person: cluster and key id
    #[arg(long, value_name = "CLUSTER/KEYID", value_parser = LockTarget::user)]
    user: Option<LockTarget>,
    /// An account of this node
    #[arg(long, value_name = "LOGIN")]
    login: Option<String>,
    /// One session
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// A certificate by its serial number
    #[arg(long, value_name = "N")]
    serial: Option<u64>,
    /// Observed addresses
    #[arg(long, value_name = "CIDR")]
    address: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct UnlockOptions {
    /// The lock's id, as `locks` lists it
    lock: String,
}

impl Target {
    fn resolve(self) -> Result<LockTarget, Failure> {
        if let Some(user) = self.user {
            return Ok(user);
        }
        if let Some(login) = self.login {
            return Ok(LockTarget::Login(login));
        }
        if let Some(session) = self.session {
            return Ok(LockTarget::Session(session.to_string()));
        }
        if let Some(serial) = self.serial {
            return Ok(LockTarget::Serial { serial, cluster: None });
        }
        let address = self.address.unwrap_or_default();
        address
            .parse()
            .map(LockTarget::Address)
            .map_err(|error| Failure::usage(format!("--address {address}: {error}")))
    }
}

pub(super) fn lock(common: &Common, options: Options) -> Result<Exit, Failure> {
    let target = options.target.resolve()?;
    let call = Call::Lock { target, seconds: options.seconds, reason: options.reason };
    let answer = client::call(common, &call)?;
    let Answer::Locked { lock, cut, not_stored } = answer else { return Err(client::unexpected(&answer)) };
    if common.json {
        output::json(&serde_json::json!({ "lock": lock, "cut": cut, "not_stored": not_stored }));
    } else {
        let sessions =
            if cut.len() == 1 { "1 session".to_owned() } else { format!("{} sessions", cut.len()) };
        output::line(&format!("lock {}: {} locked, {sessions} cut", lock.id, lock.target));
    }
    if let Some(why) = not_stored {
        eprintln!("cotter-agent: the lock is in force but will not outlive the agent: {why}");
    }
    Ok(Exit::Done)
}

pub(super) fn unlock(common: &Common, options: UnlockOptions) -> Result<Exit, Failure> {
    client::done(common, &client::call(common, &Call::Unlock { lock: options.lock })?)
}

pub(super) fn locks(common: &Common) -> Result<Exit, Failure> {
    let answer = client::call(common, &Call::Locks)?;
    let Answer::Locks { locks } = answer else { return Err(client::unexpected(&answer)) };
    if common.json {
        output::json(&locks);
    } else if locks.is_empty() {
        output::line("no locks");
    } else {
        output::table(&["LOCK", "TARGET", "UNTIL", "REASON"], locks.into_iter().map(row).collect());
    }
    Ok(Exit::Done)
}

fn row(lock: Lock) -> Vec<String> {
    let until = lock.until.map_or_else(|| "unlocked".to_owned(), output::time);
    vec![lock.id, lock.target.to_string(), until, lock.reason]
}
