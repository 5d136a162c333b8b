//! What trusted relays have said of the connections that come from them: of each, once, whose it is.

use super::{Daemon, lock};
use crate::audit::{Step, of_source};
use crate::clock;
use crate::config::TrustedRelay;
use crate::connections;
use crate::relay::{self, Leg, User, Via};
use crate::seldom::{Seldom, also};
use cotter_vouch::{Answer, Says, Signed, Statement, Used, Vouched};
use pinning::{Address, How, LoginReason};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a connection waits for its statement.
const WAIT: Duration = Duration::from_secs(3);
/// And a statement for its connection: some clients say nothing at first, and are listened to for a while before they are
/// asked for here.
const KEPT: Duration = Duration::from_secs(6);
/// Statements that wait for their connections at once.
const MOST: usize = 4096;

/// The kernel's number of a connection's socket on this node, which it never gives to another.
type Cookie = u64;

/// What was said and has not been asked for, and what is asked for and has not been said.
pub(super) struct Heard {
    used: Mutex<Used>,
    /// What was made before this agent was there may have counted already.
    since: u64,
    open: Mutex<Open>,
    /// Whoever has an account on a bastion can say what does not count.
    refused: Mutex<Seldom>,
}

#[derive(Default)]
struct Open {
    said: HashMap<Cookie, (User, Instant)>,
    asked: HashMap<Cookie, oneshot::Sender<User>>,
}

impl Heard {
    /// Nothing yet.
    pub(super) fn at_start() -> Self {
        Self {
            used: Mutex::default(),
            since: clock::unix_millis(),
            open: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Somebody has said whose a connection is.
    fn put(&self, cookie: Cookie, user: User) -> Result<(), String> {
        let (now, mut open) = (Instant::now(), lock(&self.open));
        let user = match open.asked.remove(&cookie) {
            Some(asked) => match asked.send(user) {
                Ok(()) => return Ok(()),
                Err(user) => user,
            },
            None => user,
        };
        open.said.retain(|_, (_, until)| *until > now);
        if open.said.len() >= MOST {
            return Err(format!("{MOST} statements wait for their connections already"));
        }
        open.said.insert(cookie, (user, now + KEPT));
        Ok(())
    }

    /// Whose a connection is, if somebody has said so, or does so soon.
    async fn of(&self, cookie: Cookie) -> Option<User> {
        let answer = {
            let mut open = lock(&self.open);
            if let Some((user, until)) = open.said.remove(&cookie)
                && until > Instant::now()
            {
                return Some(user);
            }
            let (asked, answer) = oneshot::channel();
            open.asked.insert(cookie, asked);
            answer
        };
        let answer = tokio::time::timeout(WAIT, answer).await;
        let asked = &mut lock(&self.open).asked;
        // It may have been asked for once more.
        if asked.get(&cookie).is_some_and(oneshot::Sender::is_closed) {
            asked.remove(&cookie);
        }
        answer.ok()?.ok()
    }
}

impl Daemon {
    /// Whose a trusted relay's connection is; why that is not known, if it is not.
    pub(super) async fn whose(&self, leg: Leg) -> Result<User, String> {
        let relay = self.trusted_relay(leg.peer)?;
        let user = self.heard.of(leg.cookie).await;
        user.ok_or_else(|| format!("relay {} has not said whose it is", relay.name))
    }

    /// What becomes of a connection of which nobody has said whose it is: it is closed. Where nothing is enforced, or not on the
    /// relay, it goes on as one of the relay's own, and gets in with a break-glass key or not at all.
    pub(super) fn unvouched(&self, leg: Leg, why: String) -> relay::Answer {
        let address = leg.peer.ip();
        let overruled = self.spares(address);
        self.audit.deny(
            LoginReason::ObservedAddressUnknown,
            Step::Relay,
            overruled,
            of_source(Some(address)),
        );
        if overruled { relay::Answer::Go } else { relay::Answer::Stay(why) }
    }

    /// A trusted relay has said something by this connection.
    pub(super) fn said(&self, by: Leg, line: &str) -> Answer {
        let answer = self.take(by, line).unwrap_or_else(Answer::Refused);
        if let Answer::Refused(why) = &answer {
            lock(&self.heard.refused).tell(|more| {
                tracing::warn!("a statement from {} does not count: {why}{}", by.peer, also(more));
            });
        }
        answer
    }

    fn take(&self, by: Leg, line: &str) -> Result<Answer, String> {
        let relay = self.trusted_relay(by.peer)?;
        let signed = Signed::read(line.as_bytes()).map_err(|error| error.to_string())?;
        let statement = signed.verify(&relay.key).map_err(|error| error.to_string())?;
        // Another relay's key is not asked: what it says of others' connections is nothing.
        if statement.from.ip() != by.peer.ip() {
            return Err(format!("it speaks of {}, and comes from {}", statement.from, by.peer.ip()));
        }
        match &statement.says {
            Says::Opened(vouched) => {
                let user = self.believed(&relay, vouched.clone())?;
                // What counts counts for this very socket, whoever comes from the same port later.
                let connection = connections::between(statement.to, statement.from);
                let Some(connection) = connection.map_err(|error| error.to_string())? else {
                    return Ok(Answer::NotYet);
                };
                self.use_up(&statement)?;
                self.heard.put(connection.cookie, user)?;
            }
            Says::Ended { session } => {
                self.use_up(&statement)?;
                self.sessions.cut_relayed(statement.from, statement.to, session);
            }
        }
        Ok(Answer::Taken)
    }

    /// Has a statement count, once, in its time.
    fn use_up(&self, statement: &Statement) -> Result<(), String> {
        let mut used = lock(&self.heard.used);
        used.take(statement, clock::unix_millis(), self.heard.since).map_err(|error| error.to_string())
    }

    /// What a relay says of a user, if it can be so.
    fn believed(&self, relay: &TrustedRelay, vouched: Vouched) -> Result<User, String> {
        if !vouched.is_straight() || vouched.through.last() != Some(&relay.key.fingerprint()) {
            return Err(
                "its way is too long, or leads through a relay twice, or does not end at this one".to_owned()
            );
        }
        if !vouched.is_plain() {
            return Err("its texts are too long, or have control characters".to_owned());
        }
        let own = self.vouching.as_ref().map(|vouching| vouching.fingerprint());
        if own.is_some_and(|own| vouched.through.iter().any(|relay| relay == own)) {
            return Err("its way has led through this node already".to_owned());
        }
        let address = vouched.address.to_canonical();
        if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
            return Err(format!("nobody is at {address}"));
        }
        let Vouched { how, user, serial, session, through, .. } = vouched;
        let serial = serial.map_or_else(|| "none".to_owned(), |serial| serial.to_string());
        tracing::info!(
            "relay {} says that {user} is at {address} ({how}; its session {session}, certificate {serial})",
            relay.name
        );
        Ok(User { address, how: How::Relay { name: relay.name.clone() }, via: Via { session, through } })
    }

    pub(super) fn trusted_relay(&self, peer: SocketAddr) -> Result<TrustedRelay, String> {
        let config = self.config();
        let relay = config.trusted_relays.iter().find(|relay| relay.is_at(Address::from(peer)));
        relay.cloned().ok_or_else(|| format!("{} is no [[trusted_relay]]'s", peer.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        let via = Via { session: String::new(), through: Vec::new() };
        User { address: [198, 51, 100, 7].into(), how: How::Direct, via }
    }

    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn one_connection_takes_what_was_said_of_it_before_or_while_it_waits() {
        let heard = Heard::at_start();
        heard.put(1, user()).unwrap();
        assert_eq!(heard.of(1).await, Some(user()));
        assert!(tokio::time::timeout(MOMENT, heard.of(1)).await.is_err(), "once");
        let said = async {
            tokio::time::sleep(MOMENT).await;
            heard.put(2, user()).unwrap();
        };
        assert_eq!(tokio::join!(heard.of(2), said).0, Some(user()));
        assert!(tokio::time::timeout(MOMENT, heard.of(2)).await.is_err(), "once");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_has_waited_long_enough_is_forgotten() {
        let heard = Heard::at_start();
        for cookie in 1..=MOST as u64 {
            heard.put(cookie, user()).unwrap();
        }
        assert!(heard.put(9_999, user()).is_err());
        assert_eq!(heard.of(10_000).await, None);
        assert!(lock(&heard.open).asked.is_empty());
        tokio::time::sleep(KEPT - WAIT).await;
        assert_eq!(heard.of(1).await, None, "it is too old by now");
        heard.put(9_999, user()).unwrap();
        assert_eq!(lock(&heard.open).said.len(), 1);
    }
}
