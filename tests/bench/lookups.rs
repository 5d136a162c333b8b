//! Lookups in large tables of the kernel's, and the memory that such tables take.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Instant;

use agent_ebpf::{Address, Endpoint, Grant, Port, PrefilterBits, Protocol, SessionId, SocketCookie, Tag};
use anyhow::{Context, Result};
use aya::maps::{HashMap, Map, MapData};
use aya::{EbpfLoader, Pod};
use cotter_agent::datapath::{Datapath, KernelLog, Settings};
use lab::{Lab, NODE_V4, Place};
use serde_json::Value;

use crate::program::Program;

/// How many entries tables have.
const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];

/// Whatever the packet: the programs do not look at it.
const PACKET: [u8; 64] = [0; 64];

/// What it takes to find any of a table's entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookups {
    /// Nanoseconds, of endpoints by their sockets' cookies, in tables of a thousand, a hundred thousand, and a million.
    /// Drawing one by lot is in it.
    pub(crate) endpoints: [f64; SIZES.len()],
    /// Bytes of the kernel's memory for each endpoint of the largest.
    pub(crate) endpoint_bytes: f64,
    /// The same of grants, by addresses.
    pub(crate) grants: [f64; SIZES.len()],
    /// Bytes for each grant of the largest.
    pub(crate) grant_bytes: f64,
    /// Seconds that it takes the agent to put a million grants in force; measured once.
    pub(crate) install: f64,
}

/// The tables.
pub(crate) struct LookupBench {
    endpoints: Vec<Full>,
    grants: Vec<Full>,
    install: f64,
    _lab: Lab,
}

impl LookupBench {
    /// Fills them.
    pub(crate) fn set_up(object: &[u8]) -> Result<Self> {
        let lab = Lab::start()?;
        let with_endpoints = |size: u32| {
            let tag = Tag::of(SessionId::new(1), Protocol::Udp);
            let endpoint = Endpoint::new(&tag, Address::from(NODE_V4), Port::new(60_001), 1);
            let entries = (0..size).map(|number| (SocketCookie::from(number), endpoint));
            Full::fill(lab.node(), object, "find_endpoint", "ENDPOINTS", size, entries)
        };
        let endpoints = SIZES.into_iter().map(with_endpoints).collect::<Result<_>>().context("endpoints")?;
        let with_grants =
            |size: u32| Full::fill(lab.node(), object, "find_grant", "GRANTS", size, (0..size).map(granted));
        let grants = SIZES.into_iter().map(with_grants).collect::<Result<_>>().context("grants")?;
        let install = lab.node().enter(install)?.context("a million grants")?;
        Ok(Self { endpoints, grants, install, _lab: lab })
    }

    /// Looks in each.
    pub(crate) fn round(&self) -> Result<Lookups> {
        Ok(Lookups {
            endpoints: costs(&self.endpoints)?,
            endpoint_bytes: bytes(&self.endpoints),
            grants: costs(&self.grants)?,
            grant_bytes: bytes(&self.grants),
            install: self.install,
        })
    }
}

/// An address with a grant.
fn granted(number: u32) -> (Address, Grant) {
    (Address::from(Ipv4Addr::from(number)), Grant::of(&[SessionId::new(1)]))
}

/// Puts grants in force as the agent does, an entry and its bits each, and says how many seconds that took.
fn install() -> Result<f64> {
    let count = SIZES[SIZES.len() - 1];
    let settings = Settings {
        pin_dir: "/sys/fs/bpf/cotter".into(),
        max_sessions: count,
        kernel_log: KernelLog::Off,
        sessions_cgroup: None,
    };
    let (datapath, _) = Datapath::open(&settings)?;
    let tables = datapath.tables()?;
    let mut words = vec![0; PrefilterBits::WORDS as usize];
    let start = Instant::now();
    for (address, grant) in (0..count).map(granted) {
        tables.put_grant(address, &grant)?;
        let bits = PrefilterBits::of(address);
        let word = &mut words[bits.word() as usize];
        *word |= bits.mask();
        tables.set_prefilter(bits.word(), *word)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// A full table, and a program that looks in it.
struct Full {
    program: Program,
    bytes_per_entry: f64,
}

impl Full {
    fn fill<K: Pod, V: Pod>(
        node: &Place,
        object: &[u8],
        program: &str,
        map: &str,
        size: u32,
        entries: impl Iterator<Item = (K, V)> + Send,
    ) -> Result<Self> {
        let pin = |name: &str| format!("/sys/fs/bpf/{name}_{size}");
        let program = node.enter(|| -> Result<Program> {
            let mut loader = EbpfLoader::new();
            loader.override_global("COUNT", &size, true);
            loader.map_max_entries(map, size).map_pin_path(map, PathBuf::from(pin(map)));
            let program = Program::load_by(&mut loader, object, program, &pin(program))?;
            let mut table: HashMap<_, K, V> = Map::from_map_data(MapData::from_pin(pin(map))?)?.try_into()?;
            entries.into_iter().try_for_each(|(key, value)| table.insert(key, value, 0))?;
            Ok(program)
        })??;
        let shown: Value =
            serde_json::from_str(&node.run("bpftool", &["-j", "map", "show", "pinned", &pin(map)])?)?;
        let bytes = shown["bytes_memlock"].as_f64().context("a map of which nobody knows how large it is")?;
        Ok(Self { program, bytes_per_entry: bytes / f64::from(size) })
    }
}

fn costs(tables: &[Full]) -> Result<[f64; SIZES.len()]> {
    let costs: Vec<f64> = tables.iter().map(|table| table.program.cost(&PACKET)).collect::<Result<_>>()?;
    costs.try_into().ok().context("not as many tables as sizes")
}

/// Of the largest, in which what a table takes whatever it holds counts least.
fn bytes(tables: &[Full]) -> f64 {
    tables.last().map_or(f64::NAN, |table| table.bytes_per_entry)
}
