//! The way back of what sshd answers to relayed connections: rules that are there as long as there are such connections.

use super::{Daemon, lock};
use crate::config::Config;
use crate::connections::{self, Connection};
use crate::interfaces::detour;
use std::collections::BTreeSet;
use std::io;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct WayBack {
    /// sshd's ports from which answers are led back.
    ports: BTreeSet<u16>,
    /// Why they are not, if they are not.
    error: Option<String>,
}

impl Daemon {
    /// Sees to it that sshd's answers to relayed connections find back to the relay, where there is one, and as long as there
    /// are such connections: others may take its rules away.
    pub(super) fn settle_way_back(&self, config: &Config, at_start: bool) {
        let _one_at_a_time = lock(&self.way_back_change);
        let wanted: BTreeSet<u16> = config.relayed_to().collect();
        if wanted.is_empty() && lock(&self.way_back).ports.is_empty() && !at_start {
            return;
        }
        let settled = settle(wanted);
        let mut known = lock(&self.way_back);
        match settled {
            Ok(ports) => *known = WayBack { ports, error: None },
            Err(error) => {
                let error = error.to_string();
                if known.error.as_ref() != Some(&error) {
                    tracing::error!(
                        "relayed connections do not come through: no rules or routes for them: {error}"
                    );
                }
                known.error = Some(error);
            }
        }
    }

    /// Why the way back is not there, if it should be and is not.
    pub(super) fn way_back_error(&self) -> Option<String> {
        lock(&self.way_back).error.clone()
    }

    /// Whether there is a relay behind this port of sshd's, or was one: what comes from elsewhere over loopback has come by it
    /// then, and by somebody's redirection otherwise.
    pub(super) fn is_led_back(&self, login_port: u16) -> bool {
        self.config().relayed_to().any(|port| port == login_port)
            || lock(&self.way_back).ports.contains(&login_port)
    }
}

/// Leads back from these ports, and from those from which that is so and on which relayed connections are still open; which
/// these are.
fn settle(mut wanted: BTreeSet<u16>) -> io::Result<BTreeSet<u16>> {
    for port in detour::ports()? {
        if !wanted.contains(&port) && connections::list(&[port])?.iter().any(Connection::is_relayed) {
            wanted.insert(port);
        }
    }
    let ports: Vec<u16> = wanted.iter().copied().collect();
    detour::set(&ports)?;
    Ok(wanted)
}
