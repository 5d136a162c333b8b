//! Grants: which addresses reach the node's gated ports, by which sessions and knocks.
//!
//! Whether a session still opens anything is for the kernel to see, at each packet. What is kept up here is which sessions it
//! asks, and that nothing stays in its tables of those that are gone.

use super::prefilter::Prefilter;
use super::{Live, Record, SessionId, Sessions, State};
use crate::audit::Subject;
use crate::clock;
use crate::config::Gate;
use crate::datapath::{Error, Tables};
use agent_ebpf::{Address, GatedPort, Gates, Grant, Nanoseconds, Port, PrefilterBits};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

/// Addresses that may have knocked at a time and have no session yet: each had a certificate.
const MOST_KNOCKS: usize = 4096;
/// And those that one person has knocked for: nobody uses up everybody's.
const MOST_OF_ONE: usize = 64;

/// What the agent knows of the kernel's grants.
#[derive(Default)]
pub(super) struct Grants {
    gates: Vec<Gate>,
    holders: BTreeMap<Address, Holders>,
    /// Where each session's grant is.
    places: HashMap<SessionId, Address>,
    prefilter: Prefilter,
}

/// A cluster and a name in it.
type Person = (Option<String>, Option<String>);

/// By what one address has its grant.
#[derive(Default)]
struct Holders {
    sessions: BTreeSet<SessionId>,
    /// All that these have opened.
    opened: Gates,
    /// Until when a knock counts; 0: none.
    knocked: Nanoseconds,
    /// Who has knocked, if this agent has heard it.
    knocker: Option<Person>,
    /// What the kernel knows.
    written: Option<Grant>,
}

impl Grants {
    /// The grants that are in the kernel's tables. Their sessions are asked for anew as soon as gates are set.
    pub(super) fn recover(tables: &Tables) -> Result<Self, Error> {
        let mut grants = Self::default();
        for (address, grant) in tables.grants()? {
            let holders =
                Holders { knocked: grant.knocked_until(), written: Some(grant), ..Holders::default() };
            grants.holders.insert(address, holders);
            grants.prefilter.add(PrefilterBits::of(address));
        }
        tables.replace_prefilter(grants.holders.keys().copied().map(PrefilterBits::of))?;
        Ok(grants)
    }

    /// The gates that a session opens: those for everybody, and those for its roles.
    pub(super) fn opened_by(&self, record: &Record) -> Gates {
        if !record.leads || record.break_glass {
            return Gates::NONE;
        }
        let opened = self.gates.iter().enumerate().filter(|(_, gate)| gate.opens_to(&record.subject.roles));
        opened.fold(Gates::NONE, |gates, (number, _)| gates.with(number))
    }

    /// Notes where a session's grant is, if it has one; where it was before, if that was elsewhere.
    fn place(&mut self, id: SessionId, place: Option<(Address, Gates)>) -> Option<Address> {
        let before = match place {
            Some((address, gates)) => {
                let holders = self.holders.entry(address).or_default();
                holders.sessions.insert(id);
                holders.opened = holders.opened.and(gates);
                self.places.insert(id, address)
            }
            None => self.places.remove(&id),
        };
        let left = before.filter(|before| Some(*before) != place.map(|(address, _)| address));
        if let Some(holders) = left.and_then(|left| self.holders.get_mut(&left)) {
            holders.sessions.remove(&id);
        }
        left
    }

    /// Brings the kernel's grant of an address in line with who holds it: an entry before its bit, and gone after it.
    fn write(
        &mut self,
        address: Address,
        tables: &Tables,
        live: &HashMap<SessionId, Live>,
    ) -> Result<(), Error> {
        let Some(holders) = self.holders.get_mut(&address) else { return Ok(()) };
        if holders.knocked <= clock::monotonic() {
            holders.knocked = 0;
        }
        if holders.sessions.is_empty() && holders.knocked == 0 {
            let was_written = holders.written.is_some();
            self.holders.remove(&address);
            return if was_written { self.withdraw(address, tables) } else { Ok(()) };
        }
        if holders.are_well_named(tables, live) {
            return Ok(());
        }
        let grant = Grant::of(&holders.ranked(tables, live)).knocked(holders.knocked);
        if holders.written == Some(grant) {
            return Ok(());
        }
        tables.put_grant(address, &grant)?;
        if holders.written.replace(grant).is_none() {
            let bits = PrefilterBits::of(address);
            tables.set_prefilter(bits.word(), self.prefilter.add(bits))?;
        }
        Ok(())
    }

    fn withdraw(&mut self, address: Address, tables: &Tables) -> Result<(), Error> {
        let bits = PrefilterBits::of(address);
        tables.set_prefilter(bits.word(), self.prefilter.remove(bits))?;
        tables.remove_grant(address)
    }
}

impl Holders {
    /// Whether the kernel asks as many sessions as it can, who all open something, and between them all that is opened. Then
    /// nobody has to look for better ones among the others, of whom there may be thousands.
    fn are_well_named(&self, tables: &Tables, live: &HashMap<SessionId, Live>) -> bool {
        let Some(written) = self.written.filter(|written| written.knocked_until() == self.knocked) else {
            return false;
        };
        let mut opened = Gates::NONE;
        let all_open = written.sessions().iter().all(|id| {
            let session = live.get(&(*id).into()).filter(|live| self.sessions.contains(&live.record.id));
            session.is_some_and(|live| {
                opened = opened.and(live.kernel.gates());
                live.cut.is_none() && live.is_used(tables)
            })
        });
        all_open && opened.has_all(self.opened)
    }

    /// The sessions in the order in which the kernel is to ask them, of which it takes only the first: each that opens what those
    /// before it do not comes first, then those that are used, then those that last the longest.
    fn ranked(&self, tables: &Tables, live: &HashMap<SessionId, Live>) -> Vec<agent_ebpf::SessionId> {
        let mut sessions: Vec<_> = self.sessions.iter().filter_map(|id| live.get(id)).collect();
        sessions.sort_by_cached_key(|live| {
            let lasting = Reverse(live.kernel.deadline());
            (live.cut.is_some(), !live.is_used(tables), live.connection.is_none(), lasting, live.record.id)
        });
        let mut opened = Gates::NONE;
        let (first, rest): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|live| {
            let adds = live.cut.is_none() && !opened.has_all(live.kernel.gates());
            opened = opened.and(if adds { live.kernel.gates() } else { Gates::NONE });
            adds
        });
        first.into_iter().chain(rest).map(|live| live.record.id.into()).collect()
    }
}

impl Live {
    /// Where it opens gates, and which: where whoever uses it is.
    fn opens(&self) -> Option<(Address, Gates)> {
        let (address, gates) = (Address::from(self.record.address()), self.kernel.gates());
        let opens = !gates.is_empty() && !self.kernel.is_unpinned() && self.kernel.admits(address);
        opens.then_some((address, gates))
    }

    /// Whether somebody uses it, as far as that can be seen.
    fn is_used(&self, tables: &Tables) -> bool {
        let is_idle = || match tables.last_use(self.record.id.into()) {
            Ok(last) => Grant::is_idle(last, clock::monotonic()),
            Err(_unknown) => true,
        };
        self.connection.is_some() || !is_idle()
    }
}

impl State {
    /// Brings what sessions open in line with what has become of them.
    pub(super) fn settle_grants(&mut self, ids: &[SessionId]) {
        let Self { tables, live, grants, .. } = self;
        let mut changed = BTreeSet::new();
        for id in ids {
            let place = live.get(id).and_then(Live::opens);
            changed.extend(grants.place(*id, place));
            changed.extend(place.map(|(address, _)| address));
        }
        for address in changed {
            if let Err(error) = grants.write(address, tables, live) {
                tracing::error!("gates to {address} stay as they are: {error}");
            }
        }
    }

    /// Takes away what nobody holds any more, knocks that are over, and, where more sessions are than a grant names, looks whether
    /// those that are named are still the right ones.
    pub(super) fn tend_grants(&mut self) {
        let Self { tables, live, grants, .. } = self;
        let now = clock::monotonic();
        let due = |holders: &Holders| {
            let is_over = holders.knocked <= now && (holders.knocked > 0 || holders.sessions.is_empty());
            is_over || holders.sessions.len() > Grant::SESSIONS
        };
        let due: Vec<_> =
            grants.holders.iter().filter(|(_, holders)| due(holders)).map(|(address, _)| *address).collect();
        for address in due {
            if let Err(error) = grants.write(address, tables, live) {
                tracing::error!("gates to {address} stay as they are: {error}");
            }
        }
    }

    /// Has a session open the gates in force.
    fn regate(tables: &Tables, grants: &Grants, id: SessionId, session: &mut Live) -> Result<(), Error> {
        let cookie = session.connection.map_or(session.kernel.connection(), |connection| connection.cookie);
        let opened =
            if session.kernel.is_unpinned() { Gates::NONE } else { grants.opened_by(&session.record) };
        if !opened.is_empty() {
            tables.note_uses(id.into())?;
        }
        let kernel = session.kernel.with_gates(opened).with_connection(cookie);
        if kernel != session.kernel {
            tables.update_session(id.into(), &kernel)?;
            session.kernel = kernel;
        }
        Ok(())
    }
}

impl Sessions {
    /// Puts gates in force. Ports whose gates change their numbers are shut for a moment: sessions open gates by number.
    ///
    /// # Errors
    /// The kernel refuses; gates that are shut then stay so.
    pub fn set_gates(&self, gates: &[Gate]) -> Result<(), Error> {
        let ports = ports(gates);
        let mut state = self.state();
        let mut kept = state.tables.gates()?;
        kept.retain(|port, gates| ports.get(port) == Some(gates));
        state.tables.set_gates(&kept)?;
        state.grants.gates = gates.to_vec();
        let State { tables, live, grants, .. } = &mut *state;
        for (id, session) in live.iter_mut() {
            if let Err(error) = State::regate(tables, grants, *id, session) {
                tracing::error!("session {id} opens the gates that it did: {error}");
            }
        }
        let all: Vec<_> = state.live.keys().copied().collect();
        state.settle_grants(&all);
        state.tend_grants();
        state.tables.set_gates(&ports)
    }

    /// Whether somebody has knocked for as many other addresses as one may.
    #[must_use]
    pub fn has_knocked_enough(&self, subject: &Subject, from: IpAddr) -> bool {
        let (state, now, from) = (self.state(), clock::monotonic(), Address::from(from));
        let person = Some(person(subject));
        let theirs = state.grants.holders.iter().filter(|(address, holders)| {
            holders.knocked > now && holders.knocker == person && **address != from
        });
        theirs.count() >= MOST_OF_ONE
    }

    /// Opens the gates before login ports to an address that somebody has knocked from, or goes on to keep them open.
    ///
    /// # Errors
    /// Too many have knocked, or the kernel refuses: nothing is open then that was not.
    pub fn knocked(&self, from: IpAddr, lasting: Duration, by: Option<&Subject>) -> Result<(), Error> {
        let mut state = self.state();
        let State { tables, live, grants, .. } = &mut *state;
        let address = Address::from(from);
        let now = clock::monotonic();
        let waiting = grants.holders.values().filter(|holders| holders.knocked > now).count();
        if waiting >= MOST_KNOCKS && grants.holders.get(&address).is_none_or(|it| it.knocked <= now) {
            return Err(Error::TableFull { map: "GRANTS" });
        }
        let until = now.saturating_add(u64::try_from(lasting.as_nanos()).unwrap_or(u64::MAX));
        let holders = grants.holders.entry(address).or_default();
        holders.knocked = holders.knocked.max(until);
        holders.knocker = by.map(person).or_else(|| holders.knocker.take());
        grants.write(address, tables, live)
    }

    /// How many addresses have a grant, and how many of these a knock that still counts.
    #[must_use]
    pub fn grants(&self) -> (usize, usize) {
        let (state, now) = (self.state(), clock::monotonic());
        let holders = &state.grants.holders;
        (holders.len(), holders.values().filter(|holders| holders.knocked > now).count())
    }
}

fn person(subject: &Subject) -> Person {
    (subject.cluster.clone(), subject.user.clone())
}

/// The gates before each port, by the numbers that their places in the configuration are.
fn ports(gates: &[Gate]) -> BTreeMap<GatedPort, Gates> {
    let mut ports = BTreeMap::<_, Gates>::new();
    for (number, gate) in gates.iter().enumerate() {
        for (protocol, port) in gate.ports() {
            let gates = ports.entry(GatedPort::new(protocol, Port::new(port))).or_default();
            *gates = gates.with(number);
        }
    }
    ports
}
