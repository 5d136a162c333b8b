//! A bastion's word for its users: each node to which a session connects is told whose that is, and when the session is over.

use super::call::VouchingStatus;
use super::{Daemon, lock, network};
use crate::clock;
use crate::config::Config;
use crate::datapath::Departures;
use crate::seldom::{Seldom, also};
use crate::session::Record;
use crate::vouching::{Departed, Ends, MOST_OF_ONE, OnWay, SendError, load_or_make, send};
use agent_ebpf::Departure;
use cotter_vouch::{LONGEST_TEXT, MOST_RELAYS, Says, Signed, Statement, Vouched};
use rustix::rand::{GetRandomFlags, getrandom};
use ssh_key::{HashAlg, PrivateKey};
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Statements that are on their way at once; others wait, and are too late if that takes long.
const AT_ONCE: usize = 4096;
/// Of those, of sessions that are over.
const ENDINGS: usize = 256;

/// By what this node vouches, and for which connections it has.
pub(super) struct Vouching {
    key: PrivateKey,
    fingerprint: String,
    departed: Mutex<Departed>,
    on_way: Mutex<OnWay>,
    endings: Semaphore,
    /// Whoever has a session can connect to where nobody listens to the agent.
    unheard: Mutex<Seldom>,
    /// Why the latest statement did not count, if it did not.
    error: Mutex<Option<String>>,
}

impl Vouching {
    /// With the node's own key, where the configuration has it vouch at all.
    pub(super) fn at_start(config: &Config) -> io::Result<Option<Self>> {
        if config.vouching.is_none() {
            return Ok(None);
        }
        let key = load_or_make(&config.state_dir)?;
        let fingerprint = key.public_key().fingerprint(HashAlg::Sha256).to_string();
        Ok(Some(Self {
            key,
            fingerprint,
            departed: Mutex::default(),
            on_way: Mutex::default(),
            endings: Semaphore::new(ENDINGS),
            unheard: Mutex::default(),
            error: Mutex::default(),
        }))
    }

    /// The fingerprint of its key.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What is said of a session's user; none that could not count.
    fn vouch(&self, record: &Record) -> Option<Vouched> {
        let subject = &record.subject;
        let before = record.via.iter().flat_map(|via| &via.through);
        let through: Vec<String> = before.chain([&self.fingerprint]).cloned().collect();
        (through.len() <= MOST_RELAYS).then(|| Vouched {
            address: record.address(),
            how: subject.observed_how.clone().unwrap_or_else(|| "direct".to_owned()),
            user: plain(subject.user.as_deref().or(subject.login.as_deref()).unwrap_or_default()),
            serial: subject.serial,
            session: record.id.to_string(),
            through,
        })
    }

    /// A statement did not count.
    fn failed(&self, record: &Record, ends: Ends, why: &str) {
        // Some of it may be the node's own words.
        let why = network::why_there_is_none("vouch.conf").unwrap_or_else(|| plain(why));
        lock(&self.unheard).tell(|more| {
            tracing::warn!("session {} is not vouched for at {}: {why}{}", record.id, ends.1, also(more));
        });
        *lock(&self.error) = Some(format!("{}: {why}", ends.1));
    }
}

/// What others have said or have called themselves, as it may stand in a log.
fn plain(text: &str) -> String {
    let mut plain: String = text.chars().filter(|it| !it.is_control()).collect();
    let end = plain.floor_char_boundary(LONGEST_TEXT);
    plain.truncate(end);
    plain
}

/// The number of a statement: 32 hexadecimal digits.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Tells nodes of the connections that sessions open to them, until the daemon ends.
pub(super) async fn departures(daemon: Arc<Daemon>, mut departures: Departures) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let departure = match departures.next().await {
            Ok(departure) => departure,
            Err(error) => return tracing::error!("nobody is vouched for any more: {error}"),
        };
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        tokio::spawn(departed(Arc::clone(&daemon), departure, slot));
    }
}

async fn departed(daemon: Arc<Daemon>, departure: Departure, _slot: OwnedSemaphorePermit) {
    let (Some(vouching), session) = (&daemon.vouching, departure.session().into()) else { return };
    let Some(record) = daemon.sessions.record(session) else { return };
    let ends = (departure.from(), departure.to());
    let Some(vouched) = vouching.vouch(&record) else {
        return vouching.failed(&record, ends, "it came through too many relays");
    };
    let Some(_place) = lock(&vouching.on_way).one_more(session) else {
        let why = format!("{MOST_OF_ONE} statements on this session are on their way already");
        return vouching.failed(&record, ends, &why);
    };
    lock(&vouching.departed).remember(session, ends);
    match daemon.say(ends, Says::Opened(vouched)).await {
        Ok(()) => *lock(&vouching.error) = None,
        Err(error) => vouching.failed(&record, ends, &error.to_string()),
    }
}

impl Daemon {
    /// Tells nodes of sessions that are over, so that theirs end too.
    pub(super) fn tell_of_ended(self: &Arc<Self>) {
        let Some(vouching) = &self.vouching else { return };
        lock(&vouching.on_way).tidy();
        let ended = lock(&vouching.departed).take_ended(|id| self.sessions.record(id).is_some());
        for (session, ends) in ended {
            let daemon = Arc::clone(self);
            tokio::spawn(async move {
                let Some(vouching) = &daemon.vouching else { return };
                let Ok(_place) = vouching.endings.acquire().await else { return };
                // A node that has noticed by itself may know nothing of it any more.
                let _told = daemon.say(ends, Says::Ended { session: session.to_string() }).await;
            });
        }
    }

    /// Says something of a connection to the node that it leads to.
    async fn say(&self, (from, to): Ends, says: Says) -> Result<(), SendError> {
        let Some(vouching) = &self.vouching else { return Ok(()) };
        let statement = Statement { id: random_id()?, made_at: clock::unix_millis(), from, to, says };
        let signed = Signed::sign(&statement, &vouching.key)?;
        send(from, to, &signed).await
    }

    /// How vouching for this node's users goes, if it does that.
    pub(super) fn vouching_status(&self) -> Option<VouchingStatus> {
        let config = self.config();
        let wanted = config.vouching.as_ref()?;
        let vouching = self.vouching.as_ref();
        let no_key = || Some("it has no key, or was not started with [vouch]: restart the agent".to_owned());
        Some(VouchingStatus {
            key: vouching.map(|it| it.fingerprint.clone()),
            nodes: wanted.nodes.iter().map(ToString::to_string).collect(),
            ports: wanted.ports.clone(),
            error: vouching.map_or_else(no_key, |it| lock(&it.error).clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_leave_logs_as_they_are() {
        assert_eq!(plain("alice@example.com"), "alice@example.com");
        assert_eq!(plain("two\nlines\u{1b}[2J"), "twolines[2J");
        assert!(plain(&"ä".repeat(LONGEST_TEXT)).len() <= LONGEST_TEXT);
    }
}
