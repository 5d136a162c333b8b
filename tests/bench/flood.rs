//! One packet over and over, on its way to the node from alice's place, from many addresses.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use aya::EbpfLoader;
use aya::maps::xdp::DevMap;
use lab::frames::Frame;
use lab::{ALICE, Lab, Place};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
use serde_json::Value;

use crate::program::Program;
use crate::receiving::Receiving;

/// Where the packets leave.
const DEVICE: &str = "eth0";

/// The addresses that packets come from: so many, from the first on, in no order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources {
    pub(crate) first: Ipv4Addr,
    pub(crate) count: u32,
}

impl Sources {
    /// Half of all that there are, in which nobody of [`crate::crowd`] is.
    pub(crate) const ANYBODY: Self = Self { first: Ipv4Addr::new(128, 0, 0, 0), count: 1 << 31 };

    /// That one.
    pub(crate) const fn only(address: Ipv4Addr) -> Self {
        Self { first: address, count: 1 }
    }
}

/// What a packet of a flood takes, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// The node: to receive it, whatever becomes of it there.
    pub(crate) node: f64,
    /// Whoever sends it, on the same processor.
    pub(crate) making: f64,
}

/// A flood that has not begun.
pub(crate) struct Flood {
    program: Program,
    packet: Vec<u8>,
    node: Place,
    alice: Place,
}

impl Flood {
    /// Loads what makes it; `name` is that of no other in this lab.
    pub(crate) fn prepare(
        lab: &Lab,
        object: &[u8],
        name: &str,
        sources: Sources,
        frame: &Frame,
    ) -> Result<Self> {
        let (node, alice) = (lab.node().clone(), lab.alice());
        let (from, door) = (device(&alice, DEVICE)?, device(&node, ALICE.device)?);
        let index = from["ifindex"].as_u64().context("a device without an index")? as u32;
        let mut packet = frame.ethernet();
        packet[..12].copy_from_slice(&[mac(&door)?, mac(&from)?].concat());
        let sum = sum_of_the_rest(&packet);
        let (first, pin) = (sources.first.to_bits(), format!("/sys/fs/bpf/{name}"));
        let program = alice.enter(|| {
            let mut loader = EbpfLoader::new();
            loader.override_global("SUM", &sum, true);
            loader.override_global("FIRST", &first, true).override_global("COUNT", &sources.count, true);
            let mut ebpf = loader.load(object)?;
            let mut ways: DevMap<_> = ebpf.map_mut("WAY_OUT").context("WAY_OUT")?.try_into()?;
            ways.set(0, index, None, 0)?;
            Program::load_of(&mut ebpf, "flood", &pin)
        })??;
        Ok(Self { program, packet, node, alice })
    }

    /// Sends so many packets; what each took.
    pub(crate) fn time(&self, count: u32, receiving: &Receiving) -> Result<Took> {
        let before = receiving.total()?;
        let whole = self.send(count)?;
        let node = (receiving.total()? - before).as_nanos() as f64 / f64::from(count);
        Ok(Took { node, making: whole - node })
    }

    /// Sends so many packets; how long each took the one processor that makes and receives them, in nanoseconds.
    pub(crate) fn send(&self, count: u32) -> Result<f64> {
        let before = self.received()?;
        let took = self.alice.enter(|| -> Result<_> {
            sched_setaffinity(None, &this_processor())?;
            self.program.send(&self.packet, count)
        })??;
        // Alice's host has a word to say of its own now and then.
        let received = self.received()? - before;
        ensure!(received >= u64::from(count), "{received} of {count} packets have come to the node");
        Ok(took.as_nanos() as f64)
    }

    /// How many packets the node has taken from the wire.
    fn received(&self) -> Result<u64> {
        let count = self.node.read(format!("/sys/class/net/{}/statistics/rx_packets", ALICE.device))?;
        count.trim().parse().context("a count of packets")
    }
}

/// The sum, as for a checksum (RFC 1071), of what is in a frame's IPv4 header beside checksum and source.
fn sum_of_the_rest(frame: &[u8]) -> u32 {
    let words = frame[14..34].chunks(2).map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]])));
    words.enumerate().filter(|(place, _)| !(5..8).contains(place)).map(|(_, word)| word).sum()
}

fn this_processor() -> CpuSet {
    let mut processors = CpuSet::new();
    processors.set(sched_getcpu());
    processors
}

/// What `ip` knows of a device.
fn device(place: &Place, name: &str) -> Result<Value> {
    let devices: Value = serde_json::from_str(&place.run("ip", &["-json", "link", "show", name])?)?;
    Ok(devices[0].clone())
}

fn mac(device: &Value) -> Result<[u8; 6]> {
    let text = device["address"].as_str().context("a device without an address")?;
    let octets = text.split(':').map(|octet| u8::from_str_radix(octet, 16));
    let octets: Vec<u8> = octets.collect::<Result<_, _>>().with_context(|| text.to_owned())?;
    octets.try_into().ok().with_context(|| text.to_owned())
}
