//! Sessions: opened at a proven login, held in the kernel's maps, followed to their true end, cut when told.

mod account;
mod adopt;
mod cgroup;
mod cut;
mod doom;
mod elsewhere;
mod follow;
mod grants;
mod open;
mod own;
mod parting;
mod prefilter;
mod record;
mod room;
pub mod snapshot;

pub use cgroup::Cgroups;
pub(crate) use cut::lock_matches;
pub use open::{OpenError, Opening};
pub(crate) use open::{kernel_mode, network};
pub(crate) use parting::Parting;
pub use record::{Record, RecordTooLong, SessionId};
pub use room::Room;

use crate::audit::{Audit, CutCause};
use crate::clock::Offset;
use crate::config::OnCut;
use crate::connections::Connection;
use crate::daemon::call::SessionStatus;
use crate::datapath::{Error, Tables};
use crate::source::source;
use agent_ebpf::Session;
use pinning::Mode;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// All sessions of the node. The kernel's maps hold the truth; this is what the agent remembers of them.
pub struct Sessions {
    state: Mutex<State>,
    audit: Arc<Audit>,
    cgroups: Option<Cgroups>,
    /// The cgroup below which sessions have theirs.
    slice: String,
}

struct State {
    tables: Arc<Tables>,
    live: HashMap<SessionId, Live>,
    /// Accounts whose own systemd runs.
    accounts: account::Accounts,
    /// Cgroups whose sockets are still to be looked for.
    claimed: Vec<adopt::Claimed>,
    /// What sessions open of the node's own services.
    grants: grants::Grants,
    /// Cgroups that were made for logins that came to nothing, until they are gone.
    forsaken: Vec<String>,
    /// Whose session a connection is, by its cookie.
    by_cookie: HashMap<u64, SessionId>,
    clock: Offset,
    /// The node's mode in force.
    mode: Mode,
    on_cut: OnCut,
    /// Takes sessions whose terminals are to be told why they end. While there is none, sessions end without words.
    farewells: Option<mpsc::Sender<Parting>>,
}

/// A session whose last process or socket is not gone yet.
#[derive(Debug)]
struct Live {
    record: Record,
    /// What the kernel judges by.
    kernel: Session,
    /// The kernel's number of its cgroup, if it has one of its own.
    cgroup: Option<u64>,
    /// The connection that opened it, until its socket is closed.
    connection: Option<Connection>,
    /// The balancer's that it came by, if it was relayed, until its socket is closed.
    outer: Option<Connection>,
    /// Why it was cut, if it was.
    cut: Option<CutCause>,
    /// Until then nothing of it is ended, so that its terminals can be told why.
    parting: Option<Instant>,
    /// How often ending its socket and processes was tried since it was cut.
    ending: u32,
    /// Packets dropped that were reported already.
    reported: u64,
}

impl Sessions {
    /// The sessions that the kernel's maps hold.
    ///
    /// # Errors
    /// The maps cannot be read.
    pub fn recover(
        tables: Arc<Tables>,
        audit: Arc<Audit>,
        cgroups: Option<Cgroups>,
        slice: &str,
    ) -> Result<Self, Error> {
        let snapshot::Found { mut live, accounts } = snapshot::all(&tables, cgroups.as_ref())?;
        let mut claimed = Vec::new();
        if let Some(cgroups) = &cgroups {
            cgroups.tidy(slice);
            claimed = own::settle(&tables, cgroups, &mut live, &accounts);
        }
        let of = |live: &Live| live.connections().map(|it| (it.cookie, live.record.id)).collect::<Vec<_>>();
        let by_cookie = live.values().flat_map(of).collect();
        let grants = grants::Grants::recover(&tables)?;
        let mut state = State {
            tables,
            live,
            accounts,
            claimed,
            grants,
            forsaken: Vec::new(),
            by_cookie,
            clock: Offset::now(),
            mode: Mode::Audit,
            on_cut: OnCut::Keep,
            farewells: None,
        };
        state.write_deadlines();
        if let Some(cgroups) = &cgroups {
            state.settle_accounts(cgroups);
        }
        Ok(Self { state: Mutex::new(state), audit, cgroups, slice: slice.to_owned() })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().live.len()
    }

    /// What is known of a session that lives and is not cut.
    #[must_use]
    pub fn record(&self, id: SessionId) -> Option<Record> {
        self.state().live.get(&id).filter(|live| live.cut.is_none()).map(|live| live.record.clone())
    }

    /// How many there are by how their users' addresses were observed, in a word such as `direct`.
    #[must_use]
    pub fn by_observation(&self) -> BTreeMap<String, u64> {
        let mut count = BTreeMap::from([("direct".to_owned(), 0)]);
        for live in self.state().live.values() {
            let how = live.record.subject.observed_how.as_deref().unwrap_or("unknown");
            *count.entry(how.split(' ').next().unwrap_or(how).to_owned()).or_default() += 1;
        }
        count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one of them has a connection from this source.
    #[must_use]
    pub fn any_from(&self, from: IpAddr) -> bool {
        let state = self.state();
        state.live.values().filter_map(|live| live.connection).any(|it| source(it.peer.ip()) == from)
    }

    /// Whether there is a session of this id of which something holds.
    pub fn is(&self, id: SessionId, holds: impl FnOnce(&Record) -> bool) -> bool {
        self.state().live.get(&id).is_some_and(|live| holds(&live.record))
    }

    /// All of them as they are listed, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<SessionStatus> {
        // The kernel may hold many endpoints: no login waits while they are read.
        let tables = Arc::clone(&self.state().tables);
        let endpoints = snapshot::endpoints(&tables);
        snapshot::listing(self.state().live.values(), endpoints, &tables)
    }

    /// The connections that belong to sessions.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        self.state().live.values().flat_map(Live::connections).collect()
    }

    /// The ports at which balancers have connected what belongs to sessions.
    pub(crate) fn relay_ports(&self) -> Vec<u16> {
        self.state().live.values().filter_map(|live| Some(live.outer?.local.port())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not end enforcement; the maps stay consistent entry by entry.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Its connection and the balancer's, as far as they are open.
    fn connections(&self) -> impl Iterator<Item = Connection> + use<> {
        self.connection.into_iter().chain(self.outer)
    }
}
