//! A node in plain collections: the verdict's tables without a kernel.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use agent_ebpf::{
    Address, Asked, Budget, Flow, FlowKey, GatedPort, Gates, Grant, Home, Mode, NEVER, Nanoseconds, Network,
    Node, Penalty, Port, PortClass, Session, SessionId, SocketCookie, Tables,
};

/// All that the verdict asks for.
#[derive(Clone, Debug)]
pub struct World {
    pub now: Nanoseconds,
    pub home: Home,
    pub node: Node,
    pub ports: BTreeMap<u16, PortClass>,
    pub local: BTreeSet<Address>,
    pub flows: BTreeMap<FlowKey, Flow>,
    pub observed: BTreeMap<SocketCookie, Address>,
    pub sessions: BTreeMap<SessionId, Session>,
    pub penalties: BTreeMap<Address, Penalty>,
    pub never_drop: Vec<Network>,
    pub violated: BTreeMap<FlowKey, SessionId>,
    pub asked: BTreeSet<Asked>,
    pub grants: BTreeMap<Address, Grant>,
    pub gates: BTreeMap<GatedPort, Gates>,
    pub connected: BTreeSet<SocketCookie>,
    pub uses: BTreeMap<SessionId, Nanoseconds>,
    pub knocks: RefCell<BTreeMap<Address, Budget>>,
}

impl World {
    /// An enforcing node that knows of nothing but its own address.
    pub fn enforcing(now: Nanoseconds) -> Self {
        Self {
            now,
            home: Home::unknown(),
            node: Node::in_mode(Mode::Enforce),
            ports: [].into(),
            local: [address("192.0.2.10")].into(),
            flows: [].into(),
            observed: [].into(),
            sessions: [].into(),
            penalties: [].into(),
            never_drop: vec![],
            violated: [].into(),
            asked: [].into(),
            grants: [].into(),
            gates: [].into(),
            connected: [].into(),
            uses: [].into(),
            knocks: RefCell::default(),
        }
    }
}

impl Tables for World {
    fn now(&self) -> Nanoseconds {
        assert_ne!(self.now, NEVER, "a clock shows a time");
        self.now
    }

    fn home(&self) -> Option<&Home> {
        Some(&self.home)
    }

    fn node(&self) -> Option<&Node> {
        Some(&self.node)
    }

    fn port_class(&self, port: Port) -> PortClass {
        self.ports.get(&port.number()).copied().unwrap_or_default()
    }

    fn flow(&self, key: &FlowKey) -> Option<&Flow> {
        self.flows.get(key)
    }

    fn observed(&self, socket: SocketCookie) -> Option<Address> {
        self.observed.get(&socket).copied()
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    fn violated(&self, violation: &FlowKey) -> Option<SessionId> {
        self.violated.get(violation).copied()
    }

    fn has_asked(&self, asked: &Asked) -> bool {
        self.asked.contains(asked)
    }

    fn may_have_grant(&self, source: Address) -> bool {
        self.grants.contains_key(&source)
    }

    fn grant(&self, source: Address) -> Option<&Grant> {
        self.grants.get(&source)
    }

    fn gates(&self, port: GatedPort) -> Gates {
        self.gates.get(&port).copied().unwrap_or_default()
    }

    fn is_connected(&self, connection: SocketCookie) -> bool {
        self.connected.contains(&connection)
    }

    fn last_use(&self, session: SessionId) -> Option<Nanoseconds> {
        self.uses.get(&session).copied()
    }

    fn is_local(&self, address: Address) -> bool {
        self.local.contains(&address)
    }

    fn penalty(&self, neighbourhood: Address) -> Option<&Penalty> {
        self.penalties.get(&neighbourhood)
    }

    fn may_knock(&self, neighbourhood: Address) -> bool {
        self.knocks.borrow_mut().entry(neighbourhood).or_default().take_knock(self.now)
    }

    fn is_never_dropped(&self, address: Address) -> bool {
        self.never_drop.iter().any(|network| network.contains(address))
    }
}

/// An address of a test.
pub fn address(text: &str) -> Address {
    Address::from(text.parse::<IpAddr>().unwrap())
}

/// A socket address of a test.
pub fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Where alice is.
pub fn alice() -> SocketAddr {
    at("198.51.111.1:40000")
}

/// Where somebody else is.
pub fn stranger() -> SocketAddr {
    at("198.51.222.2:50000")
}
