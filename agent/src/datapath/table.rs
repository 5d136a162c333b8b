//! One pinned hash map, shared between tasks.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapError};

use super::Error;

/// A hash map in the kernel. The kernel keeps its entries whole; readers never wait for writers.
#[derive(Debug)]
pub(super) struct Table<K: Pod, V: Pod> {
    name: &'static str,
    read: HashMap<MapData, K, V>,
    write: Mutex<HashMap<MapData, K, V>>,
}

/// What to do about an entry that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Existing {
    /// Replace it.
    Replace = 0,
    /// Only ever replace one: never make an entry.
    Require = 2,
}

impl<K: Pod + Ord, V: Pod> Table<K, V> {
    /// Opens the map that is pinned in `directory` by its name.
    pub(super) fn open(directory: &Path, name: &'static str) -> Result<Self, Error> {
        let open = || Self::handle(directory, name).map_err(Error::map(name));
        Ok(Self { name, read: open()?, write: Mutex::new(open()?) })
    }

    fn handle(directory: &Path, name: &str) -> Result<HashMap<MapData, K, V>, MapError> {
        HashMap::try_from(Map::from_map_data(MapData::from_pin(directory.join(name))?)?)
    }

    pub(super) fn get(&self, key: &K) -> Result<Option<V>, Error> {
        match self.read.get(key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(Error::map(self.name)(source)),
        }
    }

    /// All keys at some time during the call.
    pub(super) fn keys(&self) -> Result<BTreeSet<K>, Error> {
        // The walk begins anew when the key under it is removed, so it may meet keys twice.
        self.read.keys().collect::<Result<_, _>>().map_err(Error::map(self.name))
    }

    /// All entries; those that are removed meanwhile may be missing.
    pub(super) fn entries(&self) -> Result<Vec<(K, V)>, Error> {
        let mut entries = Vec::new();
        for key in self.keys()? {
            if let Some(value) = self.get(&key)? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    /// Writes an entry; false if it had to be there and was not.
    pub(super) fn put(&self, key: &K, value: &V, existing: Existing) -> Result<bool, Error> {
        let mut map = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        match map.insert(key, value, existing as u64) {
            Ok(()) => Ok(true),
            Err(error) => match errno(&error) {
                Some(FULL) => Err(Error::TableFull { map: self.name }),
                Some(MISSING) if existing == Existing::Require => Ok(false),
                Some(_) | None => Err(Error::map(self.name)(error)),
            },
        }
    }

    /// Removes an entry; false if there was none.
    pub(super) fn remove(&self, key: &K) -> Result<bool, Error> {
        let mut map = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        match map.remove(key) {
            Ok(()) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) if errno(&error) == Some(MISSING) => Ok(false),
            Err(error) => Err(Error::map(self.name)(error)),
        }
    }

    /// Makes the map hold these keys and no others: what is new is there before what is old goes, as far as there is
    /// room for both.
    pub(super) fn replace(&self, wanted: &BTreeSet<K>, value: V) -> Result<(), Error> {
        let present = self.keys()?;
        let mut late = Vec::new();
        for key in wanted.difference(&present) {
            match self.put(key, &value, Existing::Replace) {
                Err(Error::TableFull { map: _ }) => late.push(key),
                put => drop(put?),
            }
        }
        for key in present.difference(wanted) {
            self.remove(key)?;
        }
        late.into_iter().try_for_each(|key| self.put(key, &value, Existing::Replace).map(drop))
    }
}

/// `E2BIG`: the kernel's word for a full map.
pub(super) const FULL: i32 = rustix::io::Errno::TOOBIG.raw_os_error();
const MISSING: i32 = rustix::io::Errno::NOENT.raw_os_error();

pub(super) fn errno(error: &MapError) -> Option<i32> {
    if let MapError::SyscallError(error) = error { error.io_error.raw_os_error() } else { None }
}
