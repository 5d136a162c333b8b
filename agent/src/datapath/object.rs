//! The kernel object: its programs, the shapes of its maps, loading it.

use std::collections::BTreeSet;
use std::path::Path;

use agent_ebpf::{
    Address, Asked, Budget, DEVICES, Drops, Endpoint, Flow, FlowKey, GatedPort, Gates, Grant, Home,
    Nanoseconds, Node, Penalty, Ports, PrefilterBits, RELAY_LISTENERS, Reason, Session, SessionId, Tag,
    Violated,
};
use aya::maps::{MapInfo, MapType};
use aya::programs::{BtfTracePoint, Program as LoadedProgram, SchedClassifier, Xdp};
use aya::{Btf, Ebpf, EbpfLoader};

use super::{Error, KernelLog, Settings};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("COTTER_EBPF_OBJECT"));

/// A program of the object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Program {
    Xdp,
    Tc,
    TcLayer3,
    Close,
}

impl Program {
    pub(super) const ALL: [Self; 4] = [Self::Xdp, Self::Tc, Self::TcLayer3, Self::Close];
    /// Those that an agent begins with. The others are loaded for the first device that takes them: the kernel checks a
    /// program for a second on a slow machine, and most nodes need none of those.
    pub(super) const FIRST: [Self; 2] = [Self::Xdp, Self::Close];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "cotter_xdp",
            Self::Tc => "cotter_tc",
            Self::TcLayer3 => "cotter_tc_l3",
            Self::Close => "cotter_close",
        }
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.name() == name)
    }
}

/// The tracepoint of [`Program::Close`].
const TRACEPOINT: &str = "inet_sock_set_state";

/// How many entries a map has.
#[derive(Clone, Copy, Debug)]
enum Entries {
    Fixed(u32),
    /// As many as there may be sessions, times this.
    PerSession(u32),
    /// One for each session that there may be, and so many more.
    PerSessionBeside(u32),
}

/// What a map looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    kind: MapType,
    pub(super) key: u32,
    pub(super) value: u32,
    entries: Entries,
}

/// What is written to `DETAILS`: the length of the text, then the text.
pub(super) type DetailsRecord = [u8; agent_ebpf::DETAILS_CAPACITY + size_of::<u32>()];

/// What sockets remember. It lives in the sockets, so it is the one map that cannot be copied.
pub(super) const TAGS: &str = "TAGS";

/// All maps that are pinned. What accounts' own systemds run has sessions of its own, which are to
/// leave as much room for logins as was asked for.
pub(super) const MAPS: [Shape; 31] = [
    Shape::of::<u32, Node>("NODE", MapType::Array, Entries::Fixed(1)),
    Shape::of::<u32, Ports>("PORTS", MapType::Array, Entries::Fixed(1)),
    Shape::of::<u32, Home>("HOME", MapType::Array, Entries::Fixed(1)),
    Shape::of::<Address, u8>("LOCAL", MapType::Hash, Entries::Fixed(65536)),
    Shape::of::<FlowKey, Flow>("FLOWS", MapType::Hash, Entries::PerSession(2)),
    Shape::of::<u64, FlowKey>("SOCKETS", MapType::Hash, Entries::PerSession(2)),
    Shape::of::<u64, Address>("OBSERVED", MapType::Hash, Entries::PerSession(1)),
    Shape::of::<SessionId, Session>("SESSIONS", MapType::Hash, Entries::PerSession(2)),
    Shape::of::<SessionId, DetailsRecord>("DETAILS", MapType::Hash, Entries::PerSession(2)),
    Shape::of::<SessionId, Drops>("DROPS", MapType::Hash, Entries::PerSession(2)),
    Shape::of::<u32, u64>("DEVICE_DROPS", MapType::PerCpuArray, Entries::Fixed(DEVICES)),
    Shape::of::<[u32; 5], u8>("NEVER_DROP", MapType::LpmTrie, Entries::Fixed(4096)),
    Shape::of::<Address, Penalty>("PENALTIES", MapType::Hash, Entries::Fixed(16384)),
    Shape::of::<u64, SessionId>("CGROUPS", MapType::Hash, Entries::PerSession(2)),
    Shape::of::<u32, Tag>(TAGS, MapType::SkStorage, Entries::Fixed(0)),
    Shape::of::<u64, Endpoint>("ENDPOINTS", MapType::Hash, Entries::Fixed(65536)),
    Shape::of::<FlowKey, Violated>("VIOLATIONS", MapType::LruHash, Entries::Fixed(16384)),
    Shape::of::<Asked, u8>("ASKED", MapType::LruHash, Entries::Fixed(16384)),
    Shape::of::<GatedPort, Gates>("GATES", MapType::Hash, Entries::Fixed(4096)),
    Shape::of::<Address, Grant>("GRANTS", MapType::Hash, Entries::PerSessionBeside(4096)),
    Shape::of::<u32, u64>("PREFILTER", MapType::Array, Entries::Fixed(PrefilterBits::WORDS)),
    Shape::of::<SessionId, Nanoseconds>("USES", MapType::Hash, Entries::PerSession(2)),
    Shape::of::<u32, Budget>("KNOCKERS", MapType::Array, Entries::Fixed(1 << 16)),
    Shape::of::<u32, Budget>("LEARN_BUDGET", MapType::PerCpuArray, Entries::Fixed(1)),
    Shape::of::<u32, u64>("COUNTERS", MapType::PerCpuArray, Entries::Fixed(Reason::COUNTERS)),
    Shape::of::<(), ()>("EVENTS", MapType::RingBuf, Entries::Fixed(1 << 18)),
    Shape::of::<u32, u64>("EVENT_TOKENS", MapType::PerCpuArray, Entries::Fixed(1)),
    Shape::of::<[u32; 5], u8>("VOUCHED", MapType::LpmTrie, Entries::Fixed(1024)),
    Shape::of::<(), ()>("DEPARTURES", MapType::RingBuf, Entries::Fixed(1 << 18)),
    Shape::of::<[u32; 5], u8>("TRUSTED_RELAYS", MapType::LpmTrie, Entries::Fixed(4096)),
    Shape::of::<u32, u32>("RELAY", MapType::SockMap, Entries::Fixed(RELAY_LISTENERS)),
];

/// The maps that hold what the verdict goes by; a [`super::Judge`] reads these and no others of the live ones.
pub(super) const POLICY: [&str; 16] = [
    "NODE",
    "PORTS",
    "HOME",
    "LOCAL",
    "FLOWS",
    "SOCKETS",
    "OBSERVED",
    "SESSIONS",
    "NEVER_DROP",
    "PENALTIES",
    "ENDPOINTS",
    "VIOLATIONS",
    "GATES",
    "GRANTS",
    "PREFILTER",
    "USES",
];

/// How many entries a map has room for, on a node with room for `max_sessions` sessions; none for maps that there are
/// not.
#[must_use]
pub fn capacity(map: &str, max_sessions: u32) -> u64 {
    let shape = MAPS.iter().find(|shape| shape.name == map);
    shape.map_or(0, |shape| u64::from(shape.max_entries(max_sessions)))
}

impl Shape {
    const fn of<K, V>(name: &'static str, kind: MapType, entries: Entries) -> Self {
        Self { name, kind, key: size_of::<K>() as u32, value: size_of::<V>() as u32, entries }
    }

    fn max_entries(&self, max_sessions: u32) -> u32 {
        match self.entries {
            Entries::Fixed(entries) => entries,
            Entries::PerSession(times) => max_sessions.saturating_mul(times),
            Entries::PerSessionBeside(more) => max_sessions.saturating_add(more),
        }
    }

    /// Whether a pinned map is just what this agent would make.
    pub(super) fn matches(&self, info: &MapInfo, max_sessions: u32) -> bool {
        info.map_type().is_ok_and(|kind| kind == self.kind)
            && info.key_size() == self.key
            && info.value_size() == self.value
            && info.max_entries() == self.max_entries(max_sessions)
    }
}

/// Loads the programs that an agent begins with, with the maps pinned in `directory`; maps that are missing there are made
/// and pinned.
pub(super) fn load(directory: &Path, settings: &Settings) -> Result<Ebpf, Error> {
    let names = MAPS.map(|map| map.name);
    let mut ebpf = open(directory, &names, settings.max_sessions, settings.kernel_log)?;
    for program in Program::FIRST {
        load_program(&mut ebpf, program)?;
    }
    Ok(ebpf)
}

/// Loads some of the programs that judge packets, with the policy maps pinned in `directory` and private ones for the
/// rest.
pub(super) fn load_judge(directory: &Path, programs: &BTreeSet<Program>) -> Result<Ebpf, Error> {
    // A bound only matters to maps that are made here, which are private and stay empty.
    let mut ebpf = open(directory, &POLICY, 1, KernelLog::Off)?;
    for program in programs {
        load_program(&mut ebpf, *program)?;
    }
    Ok(ebpf)
}

/// Loads one program with maps of its own, which go with it.
pub(super) fn load_alone(program: Program) -> Result<Ebpf, Error> {
    let mut ebpf = open(Path::new(""), &[], 1, KernelLog::Off)?;
    load_program(&mut ebpf, program)?;
    Ok(ebpf)
}

/// Loads another instance of a program, over all the maps pinned in `directory`.
pub(super) fn load_stand_in(directory: &Path, program: Program) -> Result<Ebpf, Error> {
    let names = MAPS.map(|map| map.name);
    // The loader would make and pin what is missing.
    if let Some(missing) = names.iter().map(|map| directory.join(map)).find(|map| !map.exists()) {
        return Err(Error::NotLoaded { path: missing });
    }
    let mut ebpf = open(directory, &names, 1, KernelLog::Off)?;
    load_program(&mut ebpf, program)?;
    Ok(ebpf)
}

/// Whether a program is loaded.
pub(super) fn is_loaded(ebpf: &Ebpf, program: Program) -> bool {
    ebpf.program(program.name()).is_some_and(|program| program.fd().is_ok())
}

/// Loads one more program, over the maps that the others use.
pub(super) fn load_program(ebpf: &mut Ebpf, program: Program) -> Result<(), Error> {
    let loaded = match program {
        Program::Xdp => xdp(ebpf)?.load(),
        Program::Tc | Program::TcLayer3 => classifier(ebpf, program)?.load(),
        Program::Close => tracepoint(ebpf)?.load(TRACEPOINT, &kernel_btf()?),
    };
    loaded.map_err(Error::program(program.name(), "the kernel does not take it"))
}

fn kernel_btf() -> Result<Btf, Error> {
    Btf::from_sys_fs().map_err(|source| Error::Load { source: Box::new(source.into()) })
}

fn open(directory: &Path, pinned: &[&'static str], max_sessions: u32, log: KernelLog) -> Result<Ebpf, Error> {
    let level = log.level();
    let mut loader = EbpfLoader::new();
    let salt = salt();
    loader.override_global(aya_log::LEVEL, &level, true);
    loader.override_global("KNOCK_SALT", &salt, true);
    for map in &MAPS {
        loader.map_max_entries(map.name, map.max_entries(max_sessions));
    }
    for name in pinned {
        loader.map_pin_path(name, directory.join(name));
    }
    loader.load(OBJECT).map_err(|source| Error::Load { source: Box::new(source) })
}

/// A number that nobody knows; where there is no chance to be had, a known one is no harm but to those who share a place.
fn salt() -> u64 {
    let mut bytes = [0; size_of::<u64>()];
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    u64::from_ne_bytes(bytes)
}

pub(super) fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    program(ebpf, Program::Xdp)
}

pub(super) fn classifier(ebpf: &mut Ebpf, which: Program) -> Result<&mut SchedClassifier, Error> {
    program(ebpf, which)
}

pub(super) fn tracepoint(ebpf: &mut Ebpf) -> Result<&mut BtfTracePoint, Error> {
    program(ebpf, Program::Close)
}

fn program<'e, P>(ebpf: &'e mut Ebpf, which: Program) -> Result<&'e mut P, Error>
where
    &'e mut P: TryFrom<&'e mut LoadedProgram, Error = aya::programs::ProgramError>,
{
    let missing = aya::programs::ProgramError::NotLoaded;
    let found = ebpf.program_mut(which.name()).ok_or(missing);
    found.and_then(TryInto::try_into).map_err(Error::program(which.name(), "not in the object"))
}
