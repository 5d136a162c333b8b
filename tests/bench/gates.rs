//! A port that only some may reach, under a flood from everywhere: how much of it Cotter and others drop.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context, Result, ensure};
use lab::frames::Frame;
use lab::{ALICE, Lab, NODE_V4, Place};

use crate::crowd::GATED_PORT;
use crate::flood::{Flood, Sources};
use crate::program::Program;
use crate::receiving::Receiving;
use crate::{crowd, firewall};

/// How many packets come at a time: a flood lasts, so that what others have driven from the caches soon counts for nothing.
const PACKETS: u32 = 300_000;
/// How often in a round. Taking turns that are this short, all have the same share of what disturbs the machine.
const TURNS: u32 = 3;

/// Millions of packets a second that a node drops on one processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gates {
    /// An XDP program that drops everything.
    pub(crate) bare_drop: f64,
    /// Cotter.
    pub(crate) cotter: f64,
    /// nftables where packets come in.
    pub(crate) nft_ingress: f64,
    /// nftables before routing.
    pub(crate) nft_prerouting: f64,
    /// iptables' raw table with ipset.
    pub(crate) ipset: f64,
    /// How long it takes to make a packet, in nanoseconds.
    pub(crate) making: f64,
}

/// A node for each, with the same flood before it.
pub(crate) struct GateBench {
    bare_drop: Gate,
    cotter: Gate,
    nft_ingress: Gate,
    nft_prerouting: Gate,
    ipset: Gate,
}

impl GateBench {
    /// Sets up the nodes.
    pub(crate) fn set_up(object: &[u8]) -> Result<Self> {
        let granted: Vec<Ipv4Addr> = (0..crowd::SIZE).map(|number| *crowd::client(number).ip()).collect();
        let firewall = |set_up| Gate::with_firewall(object, set_up, &granted);
        Ok(Self {
            bare_drop: Gate::with_program(object, "bare_drop")?,
            cotter: Gate::with_cotter(object, granted[granted.len() / 2]).context("Cotter")?,
            nft_ingress: firewall(firewall::nft_ingress).context("nftables at ingress")?,
            nft_prerouting: firewall(firewall::nft_prerouting).context("nftables before routing")?,
            ipset: firewall(firewall::ipset).context("ipset")?,
        })
    }

    /// Floods each in turn, until each has had its turns.
    pub(crate) fn round(&self, receiving: &Receiving) -> Result<Gates> {
        let gates = [&self.bare_drop, &self.cotter, &self.nft_ingress, &self.nft_prerouting, &self.ipset];
        let mut node = [0.0; 5];
        let mut making = 0.0;
        for _ in 0..TURNS {
            for (node, gate) in node.iter_mut().zip(gates) {
                let took = gate.flood.time(PACKETS, receiving)?;
                *node += took.node / f64::from(TURNS);
                making += took.making / f64::from(TURNS) / gates.len() as f64;
            }
        }
        let [bare_drop, cotter, nft_ingress, nft_prerouting, ipset] =
            node.map(|nanoseconds| 1e3 / nanoseconds);
        Ok(Gates { bare_drop, cotter, nft_ingress, nft_prerouting, ipset, making })
    }
}

/// What sets up a firewall on a node, which lets these addresses in to a port.
type SetUp = fn(&Place, u16, &[Ipv4Addr]) -> Result<()>;

/// A node, and the flood that comes to it.
struct Gate {
    flood: Flood,
    _program: Program,
    lab: Lab,
}

impl Gate {
    /// A node whose wire runs this program. One that runs none does not take what others redirect to it.
    fn with_program(object: &[u8], name: &str) -> Result<Self> {
        let lab = Lab::start()?;
        let program = Program::at_wire(&lab, object, name)?;
        let flood = Flood::prepare(&lab, object, "flood", Sources::ANYBODY, &request())?;
        Ok(Self { flood, _program: program, lab })
    }

    /// A node with Cotter.
    fn with_cotter(object: &[u8], granted: Ipv4Addr) -> Result<Self> {
        let lab = Lab::start()?;
        let (_tables, program) = crowd::move_in(&lab)?;
        let program = program.on_wire(&lab)?;
        let flood = Flood::prepare(&lab, object, "flood", Sources::ANYBODY, &request())?;
        let gate = Self { flood, _program: program, lab };
        gate.lets_in_only(object, granted)?;
        Ok(gate)
    }

    /// A node with this firewall.
    fn with_firewall(object: &[u8], set_up: SetUp, granted: &[Ipv4Addr]) -> Result<Self> {
        let gate = Self::with_program(object, "bare_pass")?;
        set_up(gate.lab.node(), GATED_PORT, granted)?;
        gate.lets_in_only(object, granted[granted.len() / 2])?;
        Ok(gate)
    }

    /// Makes sure of whom it lets in: that address, and nobody in the flood.
    fn lets_in_only(&self, object: &[u8], granted: Ipv4Addr) -> Result<()> {
        let guest = Flood::prepare(&self.lab, object, "guest", Sources::only(granted), &request())?;
        let before = self.let_in()?;
        guest.send(1)?;
        self.flood.send(1000)?;
        let came = self.let_in()? - before;
        ensure!(came == 1, "{came} packets came in instead of the one from {granted}");
        Ok(())
    }

    /// How many packets have come through to what is on the node.
    fn let_in(&self) -> Result<u64> {
        let counts = self.lab.node().run("nstat", &["--json", "--noupdate", "--zeros", "IpInDelivers"])?;
        let counts: serde_json::Value = serde_json::from_str(&counts)?;
        counts["kernel"]["IpInDelivers"].as_u64().context("no count of packets that were let in")
    }
}

/// The request to open a connection to the port, from wherever the flood says.
fn request() -> Frame {
    let port = |address, port| SocketAddr::V4(SocketAddrV4::new(address, port));
    Frame::syn(port(ALICE.v4, 40_000), port(NODE_V4, GATED_PORT), &[])
}
