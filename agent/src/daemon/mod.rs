//! The daemon: what is in force, and the tasks that keep it so.

mod admin;
mod attach;
pub mod call;
mod carried;
pub(crate) mod coverage;
mod farewells;
mod follow;
mod keep;
mod locks;
mod metrics;
mod mode;
mod network;
mod penalties;
pub(crate) mod relayed;
mod reload;
mod serve;
mod sockets;
mod start;
mod state;
mod status;
mod strangers;
mod sweep;
mod vouched;
mod vouching;
mod way_back;

pub(crate) use carried::Carried;
pub use start::{StartError, run};
pub(crate) use state::replace;

use crate::audit::Audit;
use crate::clock;
use crate::config::Config;
use crate::datapath::{Datapath, Tables};
use crate::login::{Denials, Queries};
use crate::session::{SessionId, Sessions, lock_matches};
use coverage::Coverage;
use follow::Following;
use locks::Locks;
use mode::NodeMode;
use penalties::Penalties;
use pinning::Mode;
use state::StateFile;
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;
use strangers::Strangers;

/// Everything that the tasks of the daemon share. Locks are held for moments only, and no other is taken meanwhile, but
/// for `config_change`, `mode_change`, `way_back_change` and `state_file`, which are for those who may wait.
pub(crate) struct Daemon {
    pub(crate) audit: Arc<Audit>,
    pub(crate) sessions: Sessions,
    config: RwLock<Arc<Config>>,
    config_path: PathBuf,
    reload_error: Mutex<Option<String>>,
    /// Held while what is in force is replaced.
    config_change: Mutex<()>,
    following: Following,
    mode: Mutex<NodeMode>,
    /// Held while the mode changes everywhere.
    mode_change: Mutex<()>,
    locks: Mutex<Locks>,
    state_file: Mutex<StateFile>,
    tables: Arc<Tables>,
    datapath: Mutex<Datapath>,
    coverage: Mutex<Coverage>,
    denials: Mutex<Denials>,
    pub(crate) penalties: Penalties,
    queries: Mutex<Queries>,
    relayed: relayed::Relayed,
    /// What trusted relays have said.
    heard: vouched::Heard,
    /// By what this node vouches for its users, if it is a bastion.
    vouching: Option<vouching::Vouching>,
    way_back: Mutex<way_back::WayBack>,
    /// Held while the way back changes.
    way_back_change: Mutex<()>,
    strangers: Mutex<Strangers>,
    /// Cookies of sessions' connections that the latest look did not find.
    missing: Mutex<HashSet<u64>>,
    takeover: String,
    /// Why what sessions open for others to reach is not judged, if it is not.
    endpoints_error: Mutex<Option<String>>,
    /// Why knocks are not heard, if they should be.
    knocks_error: Mutex<Option<String>>,
    /// How often agents went on with earlier ones' sessions since the node booted.
    takeovers: u64,
    started_at: u64,
}

impl Daemon {
    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The mode in force.
    pub(crate) fn mode(&self) -> Mode {
        lock(&self.mode).at(Instant::now())
    }

    /// The locks.
    pub(crate) fn locks(&self) -> MutexGuard<'_, Locks> {
        lock(&self.locks)
    }

    /// Denied logins of the recent past.
    pub(crate) fn denials(&self) -> MutexGuard<'_, Denials> {
        lock(&self.denials)
    }

    /// Questions of unauthenticated connections.
    pub(crate) fn queries(&self) -> MutexGuard<'_, Queries> {
        lock(&self.queries)
    }

    /// Whether knocks are heard, or why they are not. Where nobody else gets past the gates before login ports, these are then
    /// no gates.
    pub(crate) fn knocks_not_heard(&self, error: Option<String>) {
        let before = std::mem::replace(&mut *lock(&self.knocks_error), error.clone());
        if before == error {
            return;
        }
        if let Some(error) = &error {
            tracing::error!("knocks are not heard until this is mended: {error}");
        }
        if before.is_some() != error.is_some() {
            let _one_at_a_time = lock(&self.config_change);
            if let Err(error) = self.write_ports(&self.config()) {
                tracing::error!("the gates before login ports stay as they are: {error}");
            }
        }
    }

    /// Whether a session, or a connection that is not the agent's to end, comes from a source.
    pub(crate) fn has_guests_from(&self, source: IpAddr) -> bool {
        self.sessions.any_from(source) || lock(&self.strangers).any_unmanaged_from(source)
    }

    /// What was marked as cut by locks that are gone, while nothing was enforced, is not cut.
    pub(crate) fn forgive_unlocked(&self) {
        let (locks, now) = (self.locks().list(), clock::unix());
        self.sessions.forgive(|record| locks.iter().any(|lock| lock_matches(lock, record, now)));
    }

    /// Ends a session that is about to open if a lock matches it; true if one does.
    pub(crate) fn cut_if_locked(&self, id: SessionId) -> bool {
        let (locks, now) = (self.locks().list(), clock::unix());
        let locked = self.sessions.is(id, |record| locks.iter().any(|lock| lock_matches(lock, record, now)));
        // Whoever set the lock may have cut the session already; locked it is all the same.
        if locked {
            self.sessions.refuse(id);
        }
        locked
    }
}

/// A panic in one task must not keep the others from enforcing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
