//! A hundred thousand sessions in the kernel's maps, each with its connection.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use agent_ebpf::{
    Address, Flow, FlowKey, Mode, NEVER, Network, Node, Port, PortClass, Ports, Session, SessionId,
};
use anyhow::{Context, Result};
use cotter_agent::datapath::Tables;
use lab::NODE_V4;

/// How many there are.
pub(crate) const SIZE: u32 = 100_000;

/// The port that they are logged in to.
pub(crate) const LOGIN_PORT: u16 = 22;

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

/// Fills the tables of a node that enforces.
pub(crate) fn move_in(tables: &Tables) -> Result<()> {
    let mut ports = Ports::none();
    ports.set(Port::new(LOGIN_PORT), PortClass::TCP_LOGIN);
    tables.set_ports(&ports)?;
    tables.set_local(&BTreeSet::from([Address::from(NODE_V4)]))?;
    tables.set_node(&Node::in_mode(Mode::Enforce))?;
    for number in 0..SIZE {
        enter(tables, number).with_context(|| format!("session {number} of {SIZE}"))?;
    }
    Ok(())
}

/// One session, pinned to its client's address, with an end that is far away: one that has none is judged faster.
fn enter(tables: &Tables, number: u32) -> Result<()> {
    let client = client(number);
    // Spread over all 64 bits as random ids are, and never zero.
    let id = SessionId::new(u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let session = Session::pinned(&[Network::host(Address::from(*client.ip()))]).with_deadline(NEVER - 1);
    tables.insert_session(id, &session, &DETAILS)?;
    let flow = Flow::of(id, FIRST_COOKIE + u64::from(number));
    Ok(tables.insert_flow(&FlowKey::tcp(client.into(), server().into()), &flow)?)
}
