//! A hundred thousand sessions in the kernel's maps, each with its connection and its grant.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use agent_ebpf::{
    ABI_VERSION, Address, Flow, FlowKey, GatedPort, Gates, Grant, Mode, NEVER, Network, Node, Port,
    PortClass, Ports, PrefilterBits, Protocol, Session, SessionId,
};
use anyhow::{Context, Result};
use cotter_agent::datapath::{Datapath, KernelLog, Settings, Tables};
use lab::{Lab, NODE_V4};

use crate::program::Program;

/// How many there are.
pub(crate) const SIZE: u32 = 100_000;

/// The port that they are logged in to.
pub(crate) const LOGIN_PORT: u16 = 22;

/// A port that answers only to where they are: PostgreSQL's.
pub(crate) const GATED_PORT: u16 = 5432;

const PINS: &str = "/sys/fs/bpf/cotter";

/// What stands in a session's record besides: as long as that of a usual certificate.
const DETAILS: [u8; 512] = [b' '; 512];

/// The kernel hands out cookies counting from one; these will not be any socket's.
const FIRST_COOKIE: u64 = 1 << 62;

/// The client of the session with this number.
pub(crate) fn client(number: u32) -> SocketAddrV4 {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number);
    SocketAddrV4::new(address, 1024 + (number % 60_000) as u16)
}

/// The node's end of all connections.
pub(crate) fn server() -> SocketAddrV4 {
    SocketAddrV4::new(NODE_V4, LOGIN_PORT)
}

/// Loads Cotter's programs and fills the tables of a node that enforces; what judges at devices.
pub(crate) fn move_in(lab: &Lab) -> Result<(Tables, Program)> {
    let tables = lab.node().enter(load)??;
    fill(&tables)?;
    let program =
        lab.node().enter(|| Program::pinned(&format!("{PINS}/v{ABI_VERSION}/prog_cotter_xdp")))??;
    Ok((tables, program))
}

fn load() -> Result<Tables> {
    let settings = Settings {
        pin_dir: PINS.into(),
        max_sessions: SIZE + 1,
        kernel_log: KernelLog::Off,
        sessions_cgroup: None,
    };
    let (datapath, _) = Datapath::open(&settings)?;
    Ok(datapath.tables()?)
}

fn fill(tables: &Tables) -> Result<()> {
    let mut ports = Ports::none();
    ports.set(Port::new(LOGIN_PORT), PortClass::TCP_LOGIN);
    ports.set(Port::new(GATED_PORT), PortClass::gated(Protocol::Tcp));
    tables.set_ports(&ports)?;
    let gated = GatedPort::new(Protocol::Tcp, Port::new(GATED_PORT));
    tables.set_gates(&[(gated, Gates::NONE.with(0))].into())?;
    tables.set_local(&BTreeSet::from([Address::from(NODE_V4)]))?;
    tables.set_never_drop(&[])?;
    tables.set_node(&Node::in_mode(Mode::Enforce))?;
    for number in 0..SIZE {
        enter(tables, number).with_context(|| format!("session {number} of {SIZE}"))?;
    }
    let addresses = (0..SIZE).map(|number| Address::from(*client(number).ip()));
    Ok(tables.replace_prefilter(addresses.map(PrefilterBits::of))?)
}

/// One session, pinned to its client's address, with an end that is far away: one that has none is judged faster.
fn enter(tables: &Tables, number: u32) -> Result<()> {
    let client = client(number);
    // Spread over all 64 bits as random ids are, and never zero.
    let id = SessionId::new(u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (address, cookie) = (Address::from(*client.ip()), FIRST_COOKIE + u64::from(number));
    let session = Session::pinned(&[Network::host(address)]).with_deadline(NEVER - 1);
    let session = session.with_gates(Gates::NONE.with(0)).with_connection(cookie);
    tables.insert_session(id, &session, &DETAILS)?;
    tables.put_grant(address, &Grant::of(&[id]))?;
    let flow = Flow::of(id, cookie);
    Ok(tables.insert_flow(&FlowKey::tcp(client.into(), server().into()), &flow)?)
}
