//! Reads sessions out of the kernel's maps: for an agent that takes over, and for listings while none runs.

use super::account::{self, Accounts};
use super::{Cgroups, Live, Record, SessionId, doom};
use crate::audit::Subject;
use crate::connections::Connection;
use crate::daemon::call::{EndpointStatus, SessionStatus};
use crate::datapath::{Error, Tables};
use agent_ebpf::{Flow, FlowKey, Leg, Protocol};
use pinning::{Mode, OnNewAddress, PinEndpoints};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

/// The sessions that the maps pinned below a directory hold, the oldest first.
///
/// # Errors
/// There are no such maps, or the caller may not open them.
pub fn sessions(bpf_pin_dir: &Path) -> Result<Vec<SessionStatus>, Error> {
    let tables = Tables::open(bpf_pin_dir)?;
    Ok(listing(all(&tables, None)?.live.values(), endpoints(&tables), &tables))
}

/// Sessions as they are listed.
pub(super) fn listing<'a>(
    live: impl Iterator<Item = &'a Live>,
    mut endpoints: Endpoints,
    tables: &Tables,
) -> Vec<SessionStatus> {
    let mut sessions: Vec<_> = live
        .map(|session| SessionStatus {
            record: session.record.clone(),
            state: session.state().to_owned(),
            flows: session.connections().count(),
            endpoints: endpoints.remove(&session.record.id).unwrap_or_default(),
            dropped: dropped(tables, session.record.id),
        })
        .collect();
    sessions.sort_by_key(|session| (session.record.opened_at, session.record.id));
    sessions
}

/// What each session has opened for others to reach.
pub(super) type Endpoints = HashMap<SessionId, Vec<EndpointStatus>>;

/// The same, in order.
pub(super) fn endpoints(tables: &Tables) -> Endpoints {
    let mut by_session = Endpoints::new();
    let listed = tables.endpoints().inspect_err(|error| tracing::warn!("endpoints are not listed: {error}"));
    for (_, endpoint) in listed.unwrap_or_default() {
        let Some(protocol) = endpoint.protocol() else { continue };
        let protocol = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let status = EndpointStatus { protocol: protocol.to_owned(), local: endpoint.local() };
        by_session.entry(endpoint.session().into()).or_default().push(status);
    }
    by_session.values_mut().for_each(|endpoints| endpoints.sort());
    by_session
}

/// Packets of a session that were dropped.
pub(super) fn dropped(tables: &Tables, id: SessionId) -> u64 {
    tables.drops(id.into()).ok().flatten().map_or(0, |drops| drops.dropped())
}

/// Packets of a session that were dropped, or would have been.
pub(super) fn counted(tables: &Tables, id: SessionId) -> u64 {
    tables.drops(id.into()).ok().flatten().map_or(0, |drops| drops.dropped() + drops.overruled())
}

/// What the maps hold.
pub(super) struct Found {
    pub(super) live: HashMap<SessionId, Live>,
    pub(super) accounts: Accounts,
}

/// Every session in the maps, with its record and its connection, and every account.
pub(super) fn all(tables: &Tables, cgroups: Option<&Cgroups>) -> Result<Found, Error> {
    let (outer, inner): (Vec<_>, Vec<_>) =
        tables.flows()?.into_iter().partition(|(_, flow)| flow.leg() == Leg::Outer);
    let by_session = |flows: Vec<(FlowKey, Flow)>| -> HashMap<SessionId, Connection> {
        flows.into_iter().map(|(key, flow)| (flow.session().into(), connection(&key, &flow))).collect()
    };
    let (mut outer, mut flows) = (by_session(outer), by_session(inner));
    let mut found = Found { live: HashMap::new(), accounts: Accounts::new() };
    for (id, kernel) in tables.sessions()? {
        let details = tables.details(id)?.unwrap_or_default();
        if let Some((manager, account)) = account::restore(&details, id.into(), kernel, cgroups) {
            found.accounts.insert(manager, account);
            continue;
        }
        let (connection, outer) = (flows.remove(&id.into()), outer.remove(&id.into()));
        let record = Record::decode(&details).unwrap_or_else(|| nameless(id.into(), connection));
        let cut = doom::cause(&kernel);
        let reported = counted(tables, id.into());
        let live =
            Live { record, kernel, cgroup: None, connection, outer, cut, parting: None, ending: 0, reported };
        found.live.insert(id.into(), live);
    }
    Ok(found)
}

fn connection(key: &FlowKey, flow: &Flow) -> Connection {
    Connection { local: key.local(), peer: key.remote(), cookie: flow.cookie() }
}

/// A session whose record cannot be read is kept and judged as the kernel judges it; nobody knows whose it is.
fn nameless(id: SessionId, connection: Option<Connection>) -> Record {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    Record {
        id,
        subject: Subject::default(),
        opened_at: 0,
        ends_at: None,
        on_new_address: OnNewAddress::Keep,
        pin_endpoints: PinEndpoints::Off,
        mode: Mode::Enforce,
        leads: false,
        break_glass: false,
        local: connection.map_or(nowhere, |connection| connection.local),
        peer: connection.map_or(nowhere, |connection| connection.peer),
        monitor: 0,
        cgroup: None,
        at: None,
        via: None,
        pinned_at: None,
    }
}
