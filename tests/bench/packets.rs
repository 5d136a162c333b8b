//! Packets through the kernel programs, in a lab of their own: no agent is there to tidy up the crowd.

use std::net::SocketAddrV4;

use agent_ebpf::Reason;
use anyhow::{Result, ensure};
use cotter_agent::datapath::Tables;
use lab::Lab;

use crate::program::{Program, REPEAT};
use crate::{crowd, xdp_filter};

const BASELINE: &str = "/sys/fs/bpf/baseline";
const XDP_FILTER: &str = "/sys/fs/bpf/xdp_filter";

/// Nothing that the agent knows of.
const UNPROTECTED_PORT: u16 = 443;

/// What a packet costs, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packets {
    /// A program that passes at once.
    pub(crate) bare_pass: f64,
    /// A program that finds the port of a TCP packet over IPv4 and nothing else, and passes.
    pub(crate) parse_plainly: f64,
    /// A program that finds all that Cotter finds, and passes.
    pub(crate) parse_fully: f64,
    /// Cotter, to an unprotected port.
    pub(crate) unprotected: f64,
    /// xdp-filter.
    pub(crate) xdp_filter: f64,
    /// Cotter, of a pinned flow.
    pub(crate) pinned: f64,
    /// Cotter, to a gated port from where a session is.
    pub(crate) granted: f64,
}

/// The loaded programs.
pub(crate) struct PacketBench {
    bare_pass: Program,
    parse_plainly: Program,
    parse_fully: Program,
    xdp_filter: Program,
    cotter: Program,
    tables: Tables,
    _lab: Lab,
}

impl PacketBench {
    /// Loads everything, and fills the maps.
    pub(crate) fn set_up(object: &[u8]) -> Result<Self> {
        let lab = Lab::start()?;
        let node = lab.node();
        let (tables, cotter) = crowd::move_in(&lab)?;
        let [bare_pass, parse_plainly, parse_fully] = node.enter(|| load_baseline(object))??;
        let xdp_filter = xdp_filter::load(node, XDP_FILTER)?;
        Ok(Self { bare_pass, parse_plainly, parse_fully, xdp_filter, cotter, tables, _lab: lab })
    }

    /// Measures each once. Every round takes another connection of the crowd, for some are found faster than others.
    pub(crate) fn round(&self, round: usize) -> Result<Packets> {
        let client = crowd::client((round as u32).wrapping_mul(7919) % crowd::SIZE);
        let pinned = packet(client, crowd::server());
        let to = |port| packet(client, SocketAddrV4::new(*crowd::server().ip(), port));
        let (unprotected, gated) = (to(UNPROTECTED_PORT), to(crowd::GATED_PORT));
        Ok(Packets {
            bare_pass: self.bare_pass.cost(&unprotected)?,
            parse_plainly: self.parse_plainly.cost(&unprotected)?,
            parse_fully: self.parse_fully.cost(&unprotected)?,
            unprotected: self.cotter(&unprotected, Reason::NotProtected)?,
            xdp_filter: self.xdp_filter.cost(&pinned)?,
            pinned: self.cotter(&pinned, Reason::Pinned)?,
            granted: self.cotter(&gated, Reason::Granted)?,
        })
    }

    /// What Cotter takes for a packet that must pass for this reason.
    fn cotter(&self, packet: &[u8], reason: Reason) -> Result<f64> {
        let before = self.tables.counters()?.of(reason);
        let cost = self.cotter.cost(packet)?;
        let counted = self.tables.counters()?.of(reason) - before;
        ensure!(counted == u64::from(REPEAT), "{counted} of {REPEAT} packets were {}", reason.name());
        Ok(cost)
    }
}

fn load_baseline(object: &[u8]) -> Result<[Program; 3]> {
    std::fs::create_dir(BASELINE)?;
    let load = |name| Program::load(object, name, BASELINE);
    Ok([load("bare_pass")?, load("parse_plainly")?, load("parse_fully")?])
}

/// An empty TCP segment with its acknowledgement, as they go by the thousand.
fn packet(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    const ETHERNET: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    const IPV4: [u8; 12] = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    const TCP: [u8; 16] = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    let addresses = [from.ip().octets(), to.ip().octets()].concat();
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    [&ETHERNET[..], &IPV4, &addresses, &ports, &TCP].concat()
}
