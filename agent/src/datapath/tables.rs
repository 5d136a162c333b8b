//! The maps as the agent uses them: typed, and each change in the order that the kernel programs need.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use agent_ebpf::{
    Address, Asked, DETAILS_CAPACITY, Drops, EVENTS_ALLOWED, Endpoint, Flow, FlowKey, GatedPort, Gates,
    Grant, Home, Leg, Nanoseconds, Network, Node, Penalty, Ports, Reason, Session, SessionId, SocketCookie,
    carried, device_slot,
};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, PerCpuValues};

use super::object::DetailsRecord;
use super::pins::version_directory;
use super::table::{Existing, Table};
use super::tags::Tags;
use super::{Error, network};

/// All maps. They can be read and written while no agent runs, and by several at once.
pub struct Tables {
    node: Mutex<Array<MapData, Node>>,
    ports: Mutex<Array<MapData, Ports>>,
    home: Mutex<Array<MapData, Home>>,
    local: Table<Address, u8>,
    flows: Table<FlowKey, Flow>,
    pub(super) sockets: Table<SocketCookie, FlowKey>,
    observed: Table<SocketCookie, Address>,
    sessions: Table<SessionId, Session>,
    details: Table<SessionId, DetailsRecord>,
    drops: Table<SessionId, Drops>,
    never_drop: Mutex<LpmTrie<MapData, [u8; 16], u8>>,
    penalties: Table<Address, Penalty>,
    cgroups: Table<u64, SessionId>,
    endpoints: Table<SocketCookie, Endpoint>,
    asked: Table<Asked, u8>,
    pub(super) gates: Table<GatedPort, Gates>,
    pub(super) grants: Table<Address, Grant>,
    pub(super) prefilter: Mutex<Array<MapData, u64>>,
    pub(super) uses: Table<SessionId, Nanoseconds>,
    pub(super) tags: Tags,
    counters: PerCpuArray<MapData, u64>,
    device_drops: PerCpuArray<MapData, u64>,
    event_tokens: Mutex<PerCpuArray<MapData, u64>>,
    vouched: Mutex<LpmTrie<MapData, [u8; 16], u8>>,
    trusted_relays: Mutex<LpmTrie<MapData, [u8; 16], u8>>,
}

/// Packets counted since the node booted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counters {
    by_reason: [u64; Reason::ALL.len()],
    overruled: [u64; Reason::ALL.len()],
}

impl Counters {
    /// Packets that this reason passed or dropped.
    pub fn of(&self, reason: Reason) -> u64 {
        self.by_reason[reason as usize]
    }

    /// Packets that this reason would have dropped and audit mode let pass.
    pub fn overruled(&self, reason: Reason) -> u64 {
        self.overruled[reason as usize]
    }
}

impl Tables {
    /// Opens the maps that an agent of this version has pinned below `pin_dir`, whether it still runs or not.
    pub fn open(pin_dir: &Path) -> Result<Self, Error> {
        let directory = version_directory(pin_dir, agent_ebpf::ABI_VERSION);
        if !directory.is_dir() {
            return Err(Error::NotLoaded { path: directory });
        }
        Self::open_directory(&directory)
    }

    pub(super) fn open_directory(directory: &Path) -> Result<Self, Error> {
        Ok(Self {
            node: Mutex::new(open(directory, "NODE")?),
            ports: Mutex::new(open(directory, "PORTS")?),
            home: Mutex::new(open(directory, "HOME")?),
            local: Table::open(directory, "LOCAL")?,
            flows: Table::open(directory, "FLOWS")?,
            sockets: Table::open(directory, "SOCKETS")?,
            observed: Table::open(directory, "OBSERVED")?,
            sessions: Table::open(directory, "SESSIONS")?,
            details: Table::open(directory, "DETAILS")?,
            drops: Table::open(directory, "DROPS")?,
            never_drop: Mutex::new(open(directory, "NEVER_DROP")?),
            penalties: Table::open(directory, "PENALTIES")?,
            cgroups: Table::open(directory, "CGROUPS")?,
            endpoints: Table::open(directory, "ENDPOINTS")?,
            asked: Table::open(directory, "ASKED")?,
            gates: Table::open(directory, "GATES")?,
            grants: Table::open(directory, "GRANTS")?,
            prefilter: Mutex::new(open(directory, "PREFILTER")?),
            uses: Table::open(directory, "USES")?,
            tags: Tags::open(directory)?,
            counters: open(directory, "COUNTERS")?,
            device_drops: open(directory, "DEVICE_DROPS")?,
            event_tokens: Mutex::new(open(directory, "EVENT_TOKENS")?),
            vouched: Mutex::new(open(directory, "VOUCHED")?),
            trusted_relays: Mutex::new(open(directory, "TRUSTED_RELAYS")?),
        })
    }

    /// Adds a session with what is known of it. It is in force for flows that are added from now on.
    ///
    /// [`Error::TableFull`] leaves no trace of it.
    pub fn insert_session(&self, id: SessionId, session: &Session, details: &[u8]) -> Result<(), Error> {
        let inserted = self
            .set_details(id, details)
            .and_then(|()| self.drops.put(&id, &Drops::none(), Existing::Replace))
            .and_then(|_| self.sessions.put(&id, session, Existing::Replace));
        if inserted.is_err() {
            self.remove_session(id)?;
        }
        inserted.map(|_| ())
    }

    /// Changes a session; the next packet is judged by it. False if there is no such session.
    pub fn update_session(&self, id: SessionId, session: &Session) -> Result<bool, Error> {
        self.sessions.put(&id, session, Existing::Require)
    }

    /// Removes a session and what is known of it. Flows that it may still have count as cut.
    pub fn remove_session(&self, id: SessionId) -> Result<(), Error> {
        self.sessions.remove(&id)?;
        self.drops.remove(&id)?;
        self.uses.remove(&id)?;
        self.details.remove(&id)?;
        Ok(())
    }

    /// A session.
    pub fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        self.sessions.get(&id)
    }

    /// All sessions.
    pub fn sessions(&self) -> Result<Vec<(SessionId, Session)>, Error> {
        self.sessions.entries()
    }

    /// Writes what is known of a session: a text of at most [`DETAILS_CAPACITY`] bytes.
    pub fn set_details(&self, id: SessionId, details: &[u8]) -> Result<(), Error> {
        let length = details.len();
        if length > DETAILS_CAPACITY {
            return Err(Error::DetailsTooLong { length });
        }
        let mut record: DetailsRecord = [0; _];
        let (head, body) = record.split_at_mut(size_of::<u32>());
        head.copy_from_slice(&(length as u32).to_ne_bytes());
        body[..length].copy_from_slice(details);
        self.details.put(&id, &record, Existing::Replace).map(|_| ())
    }

    /// What is known of a session.
    pub fn details(&self, id: SessionId) -> Result<Option<Vec<u8>>, Error> {
        let record = self.details.get(&id)?;
        Ok(record.map(|record| {
            let (head, body) = record.split_at(size_of::<u32>());
            let length = head.first_chunk().map_or(0, |head| u32::from_ne_bytes(*head) as usize);
            body[..length.min(body.len())].to_vec()
        }))
    }

    /// What was dropped of a session.
    pub fn drops(&self, id: SessionId) -> Result<Option<Drops>, Error> {
        self.drops.get(&id)
    }

    /// What was dropped of all sessions.
    pub fn all_drops(&self) -> Result<Vec<(SessionId, Drops)>, Error> {
        self.drops.entries()
    }

    /// Lets the kernel write as many events more, on each CPU, as [`EVENTS_ALLOWED`] says.
    pub fn allow_events(&self) -> Result<(), Error> {
        let error = |error| Error::map("EVENT_TOKENS")(error);
        let cpus = aya::util::nr_cpus().map_err(|(_, why)| error(why.into()))?;
        let tokens = PerCpuValues::try_from(vec![EVENTS_ALLOWED; cpus]).map_err(|why| error(why.into()))?;
        lock(&self.event_tokens).set(0, tokens, 0).map_err(error)
    }

    /// The packets dropped on a device, by its index, and on those that share its [`device_slot`].
    pub fn interface_drops(&self, index: u32) -> Result<u64, Error> {
        let values = self.device_drops.get(&device_slot(index), 0).map_err(Error::map("DEVICE_DROPS"))?;
        Ok(values.iter().sum())
    }

    /// Adds a connection, or gives it to another session.
    ///
    /// The socket must be known to be open after this returns: one that closed before is not removed by the kernel
    /// programs. One that closes meanwhile is [`Error::SocketClosed`]. [`Error::TableFull`] leaves no trace.
    pub fn insert_flow(&self, key: &FlowKey, flow: &Flow) -> Result<(), Error> {
        let cookie = flow.cookie();
        self.sockets.put(&cookie, key, Existing::Replace)?;
        let inserted = self.flows.put(key, flow, Existing::Replace).map(|_| ());
        // From the first step on the tracepoint removes both; if it came in between, the second came too late.
        let closed = self.sockets.get(&cookie)?.is_none();
        if inserted.is_err() || closed {
            self.remove_flow(key, cookie)?;
        }
        inserted.and(if closed { Err(Error::SocketClosed) } else { Ok(()) })
    }

    /// Adds a balancer's connection, whose user is at this address.
    ///
    /// As [`Tables::insert_flow`].
    pub fn insert_outer_flow(&self, key: &FlowKey, flow: &Flow, user: Address) -> Result<(), Error> {
        self.observed.put(&flow.cookie(), &user, Existing::Replace)?;
        let inserted = self.insert_flow(key, &flow.on(Leg::Outer));
        if inserted.is_err() {
            self.observed.remove(&flow.cookie())?;
        }
        inserted
    }

    /// Where the user of a balancer's connection is.
    pub fn observed(&self, socket: SocketCookie) -> Result<Option<Address>, Error> {
        self.observed.get(&socket)
    }

    /// Removes a connection whose socket, by its cookie, is known to be gone; one that another socket has taken over stays.
    pub fn remove_flow(&self, key: &FlowKey, cookie: SocketCookie) -> Result<(), Error> {
        if self.flows.get(key)?.is_some_and(|flow| flow.cookie() == cookie) {
            self.flows.remove(key)?;
        }
        self.observed.remove(&cookie)?;
        self.sockets.remove(&cookie).map(|_| ())
    }

    /// A connection.
    pub fn flow(&self, key: &FlowKey) -> Result<Option<Flow>, Error> {
        self.flows.get(key)
    }

    /// All connections that are known.
    pub fn flows(&self) -> Result<Vec<(FlowKey, Flow)>, Error> {
        self.flows.entries()
    }

    /// The node's mode.
    pub fn node(&self) -> Result<Node, Error> {
        lock(&self.node).get(&0, 0).map_err(Error::map("NODE"))
    }

    /// Sets the node's mode. The node is whose network namespace this thread is in.
    pub fn set_node(&self, node: &Node) -> Result<(), Error> {
        let network = network::cookie().map_err(Error::Network)?;
        let node = node.in_network(network);
        let mut map = lock(&self.node);
        map.set(0, node, 0).map_err(Error::map("NODE"))?;
        // A record is not written at once: its parts are there before it counts.
        self.change_home(|home| home.with_node(node.not_yet()))?;
        self.change_home(|home| home.with_node(node))
    }

    /// Says whose a cgroup is, by its id: sockets made in it from now on are that session's.
    pub fn insert_cgroup(&self, id: u64, session: SessionId) -> Result<(), Error> {
        self.cgroups.put(&id, &session, Existing::Replace).map(drop)
    }

    /// A cgroup is nobody's any more; false if it was so before.
    pub fn remove_cgroup(&self, id: u64) -> Result<bool, Error> {
        self.cgroups.remove(&id)
    }

    /// Whose each cgroup is.
    pub fn cgroups(&self) -> Result<Vec<(u64, SessionId)>, Error> {
        self.cgroups.entries()
    }

    /// Whether a socket has sent there of its own accord.
    pub fn has_asked(&self, asked: &Asked) -> Result<bool, Error> {
        self.asked.get(asked).map(|found| found.is_some())
    }

    /// Lists an endpoint.
    pub(super) fn list_endpoint(&self, cookie: SocketCookie, endpoint: &Endpoint) -> Result<(), Error> {
        self.endpoints.put(&cookie, endpoint, Existing::Replace).map(drop)
    }

    /// How many endpoints there are.
    pub fn endpoint_count(&self) -> Result<usize, Error> {
        Ok(self.endpoints.keys()?.len())
    }

    /// All endpoints that are open.
    pub fn endpoints(&self) -> Result<Vec<(SocketCookie, Endpoint)>, Error> {
        self.endpoints.entries()
    }

    /// Sets the class of every port.
    pub fn set_ports(&self, ports: &Ports) -> Result<(), Error> {
        lock(&self.ports).set(0, ports, 0).map_err(Error::map("PORTS"))
    }

    /// Sets which addresses are the node's own.
    pub fn set_local(&self, addresses: &BTreeSet<Address>) -> Result<(), Error> {
        // What is no longer the node's is forgotten in both, also where there is no room for all that is.
        let replaced = self.local.replace(addresses, 1);
        self.change_home(|home| home.with_addresses(addresses))?;
        replaced
    }

    /// Whether an address counts as the node's own.
    pub fn is_local(&self, address: Address) -> Result<bool, Error> {
        self.local.get(&address).map(|found| found.is_some())
    }

    /// The addresses that count as the node's own.
    pub fn local(&self) -> Result<BTreeSet<Address>, Error> {
        self.local.keys()
    }

    /// Sets whose packets are never dropped.
    pub fn set_never_drop(&self, networks: &[Network]) -> Result<(), Error> {
        let error = Error::map("NEVER_DROP");
        let mut map = lock(&self.never_drop);
        self.change_home(|home| home.sparing_nobody(false))?;
        replace_networks(&mut map, networks).map_err(error)?;
        if networks.is_empty() { self.change_home(|home| home.sparing_nobody(true)) } else { Ok(()) }
    }

    /// Says to which nodes the agent may vouch for who connects from here.
    pub fn set_vouched(&self, nodes: &[Network]) -> Result<(), Error> {
        replace_networks(&mut lock(&self.vouched), nodes).map_err(Error::map("VOUCHED"))
    }

    /// Says where the connections of trusted relays come from.
    pub fn set_trusted_relays(&self, addresses: &[Network]) -> Result<(), Error> {
        replace_networks(&mut lock(&self.trusted_relays), addresses).map_err(Error::map("TRUSTED_RELAYS"))
    }

    /// Has the programs ask for everything in full, until it is said anew.
    pub fn forget_home(&self) -> Result<(), Error> {
        self.change_home(|_| Home::unknown())
    }

    fn change_home(&self, change: impl FnOnce(Home) -> Home) -> Result<(), Error> {
        let mut map = lock(&self.home);
        let home = map.get(&0, 0).map_err(Error::map("HOME"))?;
        map.set(0, change(home), 0).map_err(Error::map("HOME"))
    }

    /// Whether packets of a source are never dropped.
    pub fn is_never_dropped(&self, source: Address) -> Result<bool, Error> {
        let key = Key::new(Network::host(source).bits(), source.octets());
        match lock(&self.never_drop).get(&key, 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(Error::map("NEVER_DROP")(error)),
        }
    }

    /// Puts a source under penalty; an IPv6 address stands for its /64.
    pub fn add_penalty(&self, source: Address, until: Nanoseconds) -> Result<(), Error> {
        self.penalties.put(&source.neighbourhood(), &Penalty::until(until), Existing::Replace).map(|_| ())
    }

    /// Ends a source's penalty; false if it had none.
    pub fn remove_penalty(&self, source: Address) -> Result<bool, Error> {
        self.penalties.remove(&source.neighbourhood())
    }

    /// The penalty of a source, also one that is over.
    pub fn penalty(&self, source: Address) -> Result<Option<Penalty>, Error> {
        self.penalties.get(&source.neighbourhood())
    }

    /// All penalties, also those that are over.
    pub fn penalties(&self) -> Result<Vec<(Address, Penalty)>, Error> {
        self.penalties.entries()
    }

    /// How many penalties there are, also of those that are over.
    pub fn penalty_count(&self) -> Result<usize, Error> {
        Ok(self.penalties.keys()?.len())
    }

    /// The packets counted by all CPUs, in these maps and those before them.
    pub fn counters(&self) -> Result<Counters, Error> {
        let entry = |index: u32| -> Result<u64, Error> {
            let values = self.counters.get(&index, 0).map_err(Error::map("COUNTERS"))?;
            Ok(values.iter().sum())
        };
        let count = |counter: u32| Ok::<_, Error>(entry(counter)? + entry(carried(counter))?);
        let mut counters = Counters { by_reason: [0; _], overruled: [0; _] };
        for reason in Reason::ALL {
            counters.by_reason[reason as usize] = count(reason.counter())?;
            counters.overruled[reason as usize] = count(reason.overruled_counter())?;
        }
        Ok(counters)
    }
}

/// What is new is there before what is old goes, as far as there is room for both.
fn replace_networks(map: &mut LpmTrie<MapData, [u8; 16], u8>, networks: &[Network]) -> Result<(), MapError> {
    let wanted: BTreeSet<(u32, [u8; 16])> =
        networks.iter().map(|network| (network.bits(), network.address().octets())).collect();
    let mut present = BTreeSet::new();
    for key in map.keys() {
        let key = key?;
        present.insert((key.prefix_len(), key.data()));
    }
    let new = wanted.difference(&present).map(|(bits, octets)| Key::new(*bits, *octets));
    let late: Vec<_> = new.filter(|key| map.insert(key, 1, 0).is_err()).collect();
    for (bits, octets) in present.difference(&wanted) {
        map.remove(&Key::new(*bits, *octets))?;
    }
    late.iter().try_for_each(|key| map.insert(key, 1, 0))
}

fn open<M>(directory: &Path, name: &'static str) -> Result<M, Error>
where
    M: TryFrom<Map, Error = MapError>,
{
    MapData::from_pin(directory.join(name))
        .and_then(Map::from_map_data)
        .and_then(M::try_from)
        .map_err(Error::map(name))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
