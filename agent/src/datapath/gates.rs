//! The maps of gates: which ports they stand before, to whom they are open, and when sessions were last used.

use std::collections::BTreeMap;

use agent_ebpf::{Address, GatedPort, Gates, Grant, Nanoseconds, PrefilterBits, SessionId, SocketCookie};

use super::table::Existing;
use super::tables::lock;
use super::{Error, Tables};

impl Tables {
    /// Sets which gates stand before which ports. A gated port that is not among them opens to nobody.
    pub fn set_gates(&self, gates: &BTreeMap<GatedPort, Gates>) -> Result<(), Error> {
        for port in self.gates.keys()?.iter().filter(|port| !gates.contains_key(port)) {
            self.gates.remove(port)?;
        }
        gates.iter().try_for_each(|(port, gates)| self.gates.put(port, gates, Existing::Replace).map(drop))
    }

    /// Which gates stand before which ports.
    pub fn gates(&self) -> Result<BTreeMap<GatedPort, Gates>, Error> {
        Ok(self.gates.entries()?.into_iter().collect())
    }

    /// Sets what an address may reach. It takes effect once its [`PrefilterBits`] are set.
    pub fn put_grant(&self, address: Address, grant: &Grant) -> Result<(), Error> {
        self.grants.put(&address, grant, Existing::Replace).map(drop)
    }

    /// Takes an address's grant away.
    pub fn remove_grant(&self, address: Address) -> Result<(), Error> {
        self.grants.remove(&address).map(drop)
    }

    /// What an address may reach, by which sessions and knocks; these may be over.
    pub fn grant(&self, address: Address) -> Result<Option<Grant>, Error> {
        self.grants.get(&address)
    }

    /// All grants.
    pub fn grants(&self) -> Result<Vec<(Address, Grant)>, Error> {
        self.grants.entries()
    }

    /// Sets a word of the prefilter: the bits of all addresses that have theirs in it.
    pub fn set_prefilter(&self, word: u32, bits: u64) -> Result<(), Error> {
        lock(&self.prefilter).set(word, bits, 0).map_err(Error::map("PREFILTER"))
    }

    /// Sets the whole prefilter: the bits of these addresses and no others.
    pub fn replace_prefilter(&self, addresses: impl Iterator<Item = PrefilterBits>) -> Result<(), Error> {
        let mut wanted = vec![0; PrefilterBits::WORDS as usize];
        for bits in addresses {
            wanted[bits.word() as usize] |= bits.mask();
        }
        let mut map = lock(&self.prefilter);
        for (index, word) in (0..).zip(wanted) {
            if map.get(&index, 0).map_err(Error::map("PREFILTER"))? != word {
                map.set(index, word, 0).map_err(Error::map("PREFILTER"))?;
            }
        }
        Ok(())
    }

    /// Has the kernel note when endpoints of a session are used, if it does not already.
    pub fn note_uses(&self, session: SessionId) -> Result<(), Error> {
        match self.uses.get(&session)? {
            Some(_) => Ok(()),
            None => self.set_use(session, 0),
        }
    }

    /// Sets when an endpoint of a session was last used, from where the kernel goes on; 0: never.
    pub fn set_use(&self, session: SessionId, last: Nanoseconds) -> Result<(), Error> {
        self.uses.put(&session, &last, Existing::Replace).map(drop)
    }

    /// Whether the connection of this socket, which began a session, is still open.
    pub fn is_connected(&self, connection: SocketCookie) -> Result<bool, Error> {
        self.sockets.get(&connection).map(|flow| flow.is_some())
    }

    /// When an endpoint of a session last got a packet from its pin; 0: never.
    pub fn last_use(&self, session: SessionId) -> Result<Nanoseconds, Error> {
        self.uses.get(&session).map(Option::unwrap_or_default)
    }
}
