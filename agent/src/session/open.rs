//! Opening a session: into the kernel's maps before the user's process exists.

use super::{Cgroups, Live, Record, RecordTooLong, Room, SessionId, Sessions, State, own};
use crate::audit::{Subject, What};
use crate::clock;
use crate::connections::Connection;
use crate::datapath::{Error, Tables};
use crate::relay::Via;
use agent_ebpf::{Flow, FlowKey, Gates, HeldEndpoints, Leg, Network, Session};
use ipnet::IpNet;
use pinning::{Mode, OnNewAddress, PinEndpoints, Pins};
use std::time::Instant;

/// A login that is to become a session.
#[derive(Debug)]
pub struct Opening {
    /// Whose it is.
    pub subject: Subject,
    /// Where it may send from; anywhere if absent.
    pub pins: Option<Pins>,
    /// When it is to be cut, Unix seconds.
    pub ends_at: Option<u64>,
    /// What a login of the same user from elsewhere does to it.
    pub on_new_address: OnNewAddress,
    /// Which of its endpoints are held to its pins.
    pub pin_endpoints: PinEndpoints,
    /// The mode that its roles ask for; the weaker of it and the node's counts.
    pub mode: Mode,
    /// Its certificate was good here: older sessions of the same person may follow it.
    pub leads: bool,
    /// It was opened with a break-glass key.
    pub break_glass: bool,
    /// The connection, found by the kernel.
    pub connection: Connection,
    /// The balancer's, where it is relayed.
    pub outer: Option<Connection>,
    /// The bastions that its user came through.
    pub via: Option<Via>,
    /// The sshd process that serves it.
    pub monitor: u32,
    /// From then on nobody waits for the session any more.
    pub deadline: Instant,
}

/// Why a session was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No room in the kernel's maps; no more sessions until one ends.
    #[error("the session tables are full (max_sessions)")]
    TableFull,
    /// Whoever it is has as many as one person may have.
    #[error(
        "{most} sessions are as many as one person may have here, with those of which only processes are left \
         (max_sessions_per_person)"
    )]
    TooMany {
        /// How many that is.
        most: u32,
    },
    /// The certificate's names are too long to be recorded.
    #[error(transparent)]
    Names(#[from] RecordTooLong),
    /// The connection ended meanwhile.
    #[error("the connection is gone")]
    Connection,
    /// The connection has a session already.
    #[error("the connection has a session already")]
    AlreadyOpen,
    /// Nobody waits for it any more.
    #[error("decided too late")]
    Late,
    /// The kernel refused.
    #[error("the kernel refused the session: {0}")]
    Kernel(#[source] Error),
    /// No random number for its id.
    #[error("no random number for the session's id: {0}")]
    Random(#[from] std::io::Error),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        if let Error::TableFull { .. } = error {
            Self::TableFull
        } else if let Error::SocketClosed = error {
            Self::Connection
        } else {
            Self::Kernel(error)
        }
    }
}

impl Sessions {
    /// Puts a session and its flow into the kernel's maps, if there is room for it.
    ///
    /// # Errors
    /// It is in no map then.
    pub fn open(&self, opening: Opening, room: Room) -> Result<SessionId, OpenError> {
        let id = SessionId::random()?;
        let cgroup = self.cgroup_for(id, opening.monitor);
        let record = record(id, &opening, cgroup);
        self.enter(&record, &opening, room).inspect_err(|_| self.forsake(&record))?;
        self.audit.write(What::SessionOpened { session: id.to_string() }, record.subject.clone());
        self.meet(&record);
        Ok(id)
    }

    fn enter(&self, record: &Record, opening: &Opening, room: Room) -> Result<(), OpenError> {
        let connection = opening.connection;
        let mut state = self.state();
        if state.by_cookie.contains_key(&connection.cookie) {
            return Err(OpenError::AlreadyOpen);
        }
        if Instant::now() >= opening.deadline {
            return Err(OpenError::Late);
        }
        state.has_room(room, &record.subject)?;
        let (deadline, gates) = (state.clock.deadline(opening.ends_at), state.grants.opened_by(record));
        let kernel = kernel_session(opening, deadline, gates);
        let cgroup = insert(&state, self.cgroups.as_ref(), record, &kernel, opening)?;
        let live = Live {
            record: record.clone(),
            kernel,
            cgroup,
            connection: Some(connection),
            outer: opening.outer,
            cut: None,
            parting: None,
            ending: 0,
            reported: 0,
        };
        state.live.insert(record.id, live);
        state.settle_grants(&[record.id]);
        self.settle_accounts(&mut state);
        state.by_cookie.extend(opening.outer.map(|outer| (outer.cookie, record.id)));
        state.by_cookie.insert(connection.cookie, record.id);
        Ok(())
    }
}

fn record(id: SessionId, opening: &Opening, cgroup: Option<String>) -> Record {
    Record {
        id,
        subject: opening.subject.clone(),
        opened_at: clock::unix(),
        ends_at: opening.ends_at,
        on_new_address: opening.on_new_address,
        pin_endpoints: opening.pin_endpoints,
        mode: opening.mode,
        leads: opening.leads,
        break_glass: opening.break_glass,
        local: opening.connection.local,
        peer: opening.connection.peer,
        monitor: opening.monitor,
        cgroup,
        at: None,
        via: opening.via.clone(),
        pinned_at: None,
    }
}

fn kernel_session(opening: &Opening, deadline: u64, gates: Gates) -> Session {
    let session = match &opening.pins {
        None => Session::unpinned(),
        Some(pins) => {
            let led = pins.led_by(opening.connection.peer.ip().into());
            let networks: Vec<Network> = led.networks().iter().map(|cidr| network(cidr.net())).collect();
            Session::pinned(&networks).with_gates(gates).with_connection(opening.connection.cookie)
        }
    };
    let endpoints = held_endpoints(opening.pin_endpoints);
    session.with_deadline(deadline).with_mode(kernel_mode(opening.mode)).with_endpoints(endpoints)
}

/// A network as the kernel knows it; of IPv4 the mapped form.
pub(crate) fn network(network: IpNet) -> Network {
    Network::new(network.addr().into(), network.prefix_len())
}

/// The rules' choice of endpoints as the kernel knows it.
fn held_endpoints(endpoints: PinEndpoints) -> HeldEndpoints {
    match endpoints {
        PinEndpoints::Off => HeldEndpoints::None,
        PinEndpoints::Udp => HeldEndpoints::Udp,
        PinEndpoints::All => HeldEndpoints::All,
    }
}

/// The rules' mode as the kernel knows it.
pub(crate) fn kernel_mode(mode: Mode) -> agent_ebpf::Mode {
    match mode {
        Mode::Off => agent_ebpf::Mode::Off,
        Mode::Audit => agent_ebpf::Mode::Audit,
        Mode::Enforce => agent_ebpf::Mode::Enforce,
    }
}

/// Session first, then its cgroup and its flow: nothing is ever found of a session that is not there. On failure nothing
/// stays behind. The number of its cgroup, if it has one.
fn insert(
    state: &State,
    cgroups: Option<&Cgroups>,
    record: &Record,
    kernel: &Session,
    opening: &Opening,
) -> Result<Option<u64>, OpenError> {
    let (tables, id) = (&state.tables, record.id.into());
    tables.insert_session(id, kernel, &record.encode()?)?;
    let noted = if kernel.gates().is_empty() { Ok(()) } else { tables.note_uses(id) };
    let inserted = noted.and_then(|()| own::claim(tables, cgroups, record)).and_then(|cgroup| {
        let flow = insert_flows(tables, id, opening);
        match (flow, cgroup) {
            (Err(error), Some(cgroup)) => tables.remove_cgroup(cgroup).and(Err(error)),
            (flow, cgroup) => flow.map(|()| cgroup),
        }
    });
    if inserted.is_err() {
        tables.remove_session(id)?;
    }
    Ok(inserted?)
}

/// Puts the session's connection into the maps, the balancer's too: both or none.
fn insert_flows(tables: &Tables, id: agent_ebpf::SessionId, opening: &Opening) -> Result<(), Error> {
    let (connection, flow) = (opening.connection, Flow::of(id, opening.connection.cookie));
    let key = FlowKey::tcp(connection.peer, connection.local);
    let Some(outer) = opening.outer else { return tables.insert_flow(&key, &flow) };
    tables.insert_flow(&key, &flow.on(Leg::Inner))?;
    let (outer_key, outer_flow) = (FlowKey::tcp(outer.peer, outer.local), Flow::of(id, outer.cookie));
    let inserted = tables.insert_outer_flow(&outer_key, &outer_flow, connection.peer.ip().into());
    if inserted.is_err() {
        tables.remove_flow(&key, connection.cookie)?;
    }
    inserted
}
