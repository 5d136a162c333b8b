//! What becomes of a knock: who is good is let in, for as long as a login may take; and what is said of it.

use super::Refusal;
use super::judge::{Arrival, Judge, Refused, Rules};
use super::latest::Latest;
use crate::audit::Subject;
use crate::config::Config;
use crate::daemon::Daemon;
use crate::login::subject;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The shortest time for which an address is let in: sshd's own LoginGraceTime, unless its administrator has changed it.
const SHORTEST: Duration = Duration::from_secs(120);

/// Who hears knocks.
pub(super) struct Doorkeeper {
    daemon: Arc<Daemon>,
    judge: Judge,
    latest: Latest,
}

impl Doorkeeper {
    pub(super) fn new(daemon: Arc<Daemon>, started: Instant) -> Self {
        let latest = Latest::in_dir(&daemon.config().state_dir);
        Self { judge: Judge::new(started, latest.read()), daemon, latest }
    }

    /// Judges what came, and opens or keeps silent.
    pub(super) fn hear(&mut self, bytes: &[u8], from: IpAddr) {
        let (config, locks) = (self.daemon.config(), self.daemon.locks().list());
        let Some(knocks) = &config.knocks else { return };
        let arrival = Arrival { bytes, from, wall: SystemTime::now().into(), at: Instant::now() };
        let rules = Rules { knocks, policy: &config.policy, locks: &locks };
        // A knock names no login.
        match self.judge.judge(&arrival, &rules) {
            Ok(judgement) => {
                let whose = subject(&judgement, None);
                match self.open(&config, from, &whose) {
                    Ok(()) => self.daemon.audit.accept_knock(lasting(&config), whose),
                    Err(why) => self.daemon.audit.refuse_knock(why, Some(whose)),
                }
            }
            Err(Refused { why, of }) => {
                self.daemon.audit.refuse_knock(why, of.map(|judgement| subject(&judgement, None)));
            }
        }
    }

    /// What was taken is kept first. A disk that is full keeps nobody out: what could then be sent once more, to an agent that
    /// takes over, is a knock of the last half minute by a clock that is ahead.
    fn open(&mut self, config: &Config, from: IpAddr, whose: &Subject) -> Result<(), Refusal> {
        if self.daemon.sessions.has_knocked_enough(whose, from) {
            return Err(Refusal::Often);
        }
        self.latest.keep(self.judge.latest());
        self.daemon.sessions.knocked(from, lasting(config), Some(whose)).map_err(|error| {
            tracing::debug!("{from} has knocked and is not let in: {error}");
            Refusal::NotOpened
        })
    }
}

fn lasting(config: &Config) -> Duration {
    config.login_grace_time.max(SHORTEST)
}
