//! Copies what another version's maps, or maps of another size, hold into new ones.
//!
//! Records of neighbouring versions begin alike: what the shorter one has is copied, the rest is zero. While it copies,
//! the kernel goes on removing the flows of closed sockets from both the old maps and the new.

use std::path::Path;

use agent_ebpf::{
    Address, Drops, Endpoint, Flow, FlowKey, GatedPort, Gates, Grant, Nanoseconds, Node, Penalty, Ports,
    PrefilterBits, Session, SessionId, carried,
};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, MapInfo, PerCpuArray, PerCpuValues};

use super::Error;
use super::object::{DetailsRecord, MAPS};
use super::pins;
use super::table::{FULL, errno};

/// The maps without which there is nothing to take over.
const COPIED: [&str; 9] =
    ["NODE", "LOCAL", "PENALTIES", "NEVER_DROP", "SESSIONS", "DETAILS", "DROPS", "SOCKETS", "FLOWS"];

const KEY: usize = size_of::<FlowKey>();

/// Copies all that sessions and the node's state consist of; answers how many sessions.
///
/// The close tracepoint must run over the new maps already. Entries that the new maps have no room for are left behind.
pub(super) fn copy(from: &Path, to: &Path) -> Result<usize, Error> {
    for name in COPIED {
        check(from, name)?;
    }
    node(from, to)?;
    ports(from, to)?;
    never_drop(from, to)?;
    hash::<16, 1>(from, to, "LOCAL")?;
    hash::<16, { size_of::<Penalty>() }>(from, to, "PENALTIES")?;
    let sessions = hash::<8, { size_of::<Session>() }>(from, to, "SESSIONS")?;
    hash::<8, { size_of::<DetailsRecord>() }>(from, to, "DETAILS")?;
    hash::<8, { size_of::<Drops>() }>(from, to, "DROPS")?;
    // The kernel finds a closed socket's flow through SOCKETS, so that is filled first.
    hash::<8, KEY>(from, to, "SOCKETS")?;
    hash::<KEY, { size_of::<Flow>() }>(from, to, "FLOWS")?;
    // The version before this one had no endpoints.
    if info(from, "CGROUPS").is_ok() {
        hash::<8, { size_of::<SessionId>() }>(from, to, "CGROUPS")?;
        hash::<8, { size_of::<Endpoint>() }>(from, to, "ENDPOINTS")?;
    }
    // Nor had it gates.
    if info(from, "GRANTS").is_ok() {
        hash::<{ size_of::<GatedPort>() }, { size_of::<Gates>() }>(from, to, "GATES")?;
        hash::<8, { size_of::<Nanoseconds>() }>(from, to, "USES")?;
        hash::<16, { size_of::<Grant>() }>(from, to, "GRANTS")?;
        prefilter(to)?;
    }
    // Nor had it a relay.
    if info(from, "OBSERVED").is_ok() {
        hash::<8, { size_of::<Address>() }>(from, to, "OBSERVED")?;
    }
    forget_closed(from, to)?;
    Ok(sessions)
}

/// Adds what other maps have counted to what these carry. The others' counters are taken away before, so that nothing
/// counts twice, whenever this is interrupted. No program may be attached over the others any more.
pub(super) fn carry_counters(from: &Path, to: &Path) -> Result<(), Error> {
    let error = || Error::map("COUNTERS");
    let mut target: PerCpuArray<_, u64> = open(to, "COUNTERS")?;
    let source: PerCpuArray<_, u64> = open(from, "COUNTERS")?;
    pins::remove(&from.join("COUNTERS"))?;
    for counter in 0..carried(0).min(source.len()) {
        // Other maps may have no room for what they carry.
        let earlier = source.get(&carried(counter), 0).map_or(0, |values| values.iter().sum());
        let counted: u64 = source.get(&counter, 0).map_err(error())?.iter().sum();
        let mut values = target.get(&carried(counter), 0).map_err(error())?.to_vec();
        values[0] += earlier + counted;
        let values = PerCpuValues::try_from(values).map_err(|error| Error::map("COUNTERS")(error.into()))?;
        target.set(carried(counter), values, 0).map_err(error())?;
    }
    Ok(())
}

/// Whether a map of the other version is there with the keys that we know.
fn check(from: &Path, name: &'static str) -> Result<(), Error> {
    let info = info(from, name)?;
    let known = MAPS.iter().find(|map| map.name == name);
    let alike = known.is_some_and(|map| map.key == info.key_size()) && is_readable(info.value_size());
    if alike { Ok(()) } else { Err(Error::Unlike { map: name }) }
}

fn node(from: &Path, to: &Path) -> Result<(), Error> {
    const SIZE: usize = size_of::<Node>();
    let mut target: Array<_, [u8; SIZE]> = open(to, "NODE")?;
    for (_, old) in records::<4>(from, "NODE")? {
        target.set(0, resized::<SIZE>(&old), 0).map_err(Error::map("NODE"))?;
    }
    Ok(())
}

/// The classes of the ports, until the agent sets them; of another version's, nothing is known.
fn ports(from: &Path, to: &Path) -> Result<(), Error> {
    if !info(from, "PORTS").is_ok_and(|info| info.value_size() as usize == size_of::<Ports>()) {
        return Ok(());
    }
    let source: Array<_, Ports> = open(from, "PORTS")?;
    let ports = source.get(&0, 0).map_err(Error::map("PORTS"))?;
    open::<Array<_, Ports>>(to, "PORTS")?.set(0, ports, 0).map_err(Error::map("PORTS"))
}

/// The bits of the grants that were copied.
fn prefilter(to: &Path) -> Result<(), Error> {
    let grants: HashMap<_, Address, Grant> = open(to, "GRANTS")?;
    let mut prefilter: Array<_, u64> = open(to, "PREFILTER")?;
    for address in grants.keys().flatten() {
        let bits = PrefilterBits::of(address);
        let word = prefilter.get(&bits.word(), 0).map_err(Error::map("PREFILTER"))?;
        prefilter.set(bits.word(), word | bits.mask(), 0).map_err(Error::map("PREFILTER"))?;
    }
    Ok(())
}

fn never_drop(from: &Path, to: &Path) -> Result<(), Error> {
    let source: LpmTrie<_, [u8; 16], u8> = open(from, "NEVER_DROP")?;
    let mut target: LpmTrie<_, [u8; 16], u8> = open(to, "NEVER_DROP")?;
    for key in source.keys() {
        let key = key.map_err(Error::map("NEVER_DROP"))?;
        let key = Key::new(key.prefix_len(), key.data());
        target.insert(&key, 1, 0).map_err(Error::map("NEVER_DROP"))?;
    }
    Ok(())
}

fn hash<const K: usize, const V: usize>(from: &Path, to: &Path, name: &'static str) -> Result<usize, Error> {
    let mut target: HashMap<_, [u8; K], [u8; V]> = open(to, name)?;
    let mut copied = 0;
    for (key, old) in records::<K>(from, name)? {
        match target.insert(key, resized::<V>(&old), 0) {
            Ok(()) => copied += 1,
            Err(error) if errno(&error) == Some(FULL) => {}
            Err(error) => return Err(Error::map(name)(error)),
        }
    }
    Ok(copied)
}

/// Removes from the new maps what was removed from the old ones between being read there and written here.
fn forget_closed(from: &Path, to: &Path) -> Result<(), Error> {
    let mut sockets: HashMap<_, [u8; 8], [u8; KEY]> = open(to, "SOCKETS")?;
    let mut flows: HashMap<_, [u8; KEY], Flow> = open(to, "FLOWS")?;
    let still: std::collections::BTreeMap<_, _> = records::<8>(from, "SOCKETS")?.into_iter().collect();
    let copied: Vec<_> = sockets.iter().flatten().collect();
    for (cookie, key) in copied.into_iter().filter(|(cookie, _)| !still.contains_key(cookie)) {
        let flow = flows.get(&key, 0).ok();
        if flow.is_some_and(|flow| flow.cookie().to_ne_bytes() == cookie) {
            ignore_missing(flows.remove(&key)).map_err(Error::map("FLOWS"))?;
        }
        ignore_missing(sockets.remove(&cookie)).map_err(Error::map("SOCKETS"))?;
    }
    Ok(())
}

fn ignore_missing(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}

fn resized<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut resized = [0; N];
    let length = bytes.len().min(N);
    resized[..length].copy_from_slice(&bytes[..length]);
    resized
}

type Records<const K: usize> = Vec<([u8; K], Vec<u8>)>;

/// The loader's maps fix their value's size when they are compiled, so there is one reader for each size.
macro_rules! readers {
    ($($size:literal)*) => {
        fn is_readable(size: u32) -> bool {
            [$($size),*].contains(&size)
        }

        /// All entries of a hash or array map, whatever the size of its values.
        fn records<const K: usize>(from: &Path, name: &'static str) -> Result<Records<K>, Error> {
            match info(from, name)?.value_size() {
                $($size => entries::<K, $size>(from, name),)*
                _ => Err(Error::Unlike { map: name }),
            }
        }
    };
}

readers! {
    1 8 16 24 32 40 48 56 64 72 80 88 96 104 112 120 128 136 144 152 160 168 176 184 192 200 208 216 224 232 240 248
    256 264 272 280 288 296 304 312 320 1024 2048 4096
}

fn entries<const K: usize, const V: usize>(from: &Path, name: &'static str) -> Result<Records<K>, Error> {
    let data = data(from, name)?;
    if let Ok(array) = Array::<_, [u8; V]>::try_from(data) {
        let value = array.get(&0, 0).map_err(Error::map(name))?;
        return Ok(vec![([0; K], value.to_vec())]);
    }
    let source: HashMap<_, [u8; K], [u8; V]> = open(from, name)?;
    // An entry that is removed while the walk stands on it is missing; that it may appear twice does no harm.
    Ok(source.iter().flatten().map(|(key, value)| (key, value.to_vec())).collect())
}

fn info(directory: &Path, name: &'static str) -> Result<MapInfo, Error> {
    MapInfo::from_pin(directory.join(name)).map_err(Error::map(name))
}

fn data(directory: &Path, name: &'static str) -> Result<Map, Error> {
    MapData::from_pin(directory.join(name)).and_then(Map::from_map_data).map_err(Error::map(name))
}

fn open<M>(directory: &Path, name: &'static str) -> Result<M, Error>
where
    M: TryFrom<Map, Error = MapError>,
{
    M::try_from(data(directory, name)?).map_err(Error::map(name))
}
