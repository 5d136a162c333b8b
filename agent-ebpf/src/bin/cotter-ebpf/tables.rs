//! The verdict's questions, answered from the maps.
#![expect(unsafe_code, reason = "map lookups return references into kernel memory")]

use agent_ebpf::{
    Address, Asked, Flow, FlowKey, GatedPort, Gates, Grant, Home, Nanoseconds, Node, Penalty, Port,
    PortClass, PrefilterBits, Session, SessionId, SocketCookie, Standing, Tables, is_granted,
};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;

use crate::maps::{
    ASKED, ENDPOINTS, FLOWS, GATES, GRANTS, HOME, KNOCKERS, KNOCKERS_BOUND, LOCAL, Maps, NEVER_DROP, NODE,
    OBSERVED, PENALTIES, PORTS, PREFILTER, SESSIONS, SOCKETS, USES, VIOLATIONS, is_in,
};

/// Drawn by lot when the programs are loaded.
#[unsafe(no_mangle)]
static KNOCK_SALT: u64 = 0;

impl Tables for Maps {
    #[inline(always)]
    fn now(&self) -> Nanoseconds {
        // SAFETY: reads a clock.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn home(&self) -> Option<&Home> {
        HOME.get(0)
    }

    #[inline(always)]
    fn node(&self) -> Option<&Node> {
        NODE.get(0)
    }

    #[inline(always)]
    fn port_class(&self, port: Port) -> PortClass {
        PORTS.get(0).map_or(PortClass::NONE, |ports| ports.class(port))
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<&Flow> {
        // SAFETY: the entry stays readable for the program's run. If the agent replaces or removes it meanwhile, this
        // packet may be judged by the entry that takes its place; the next one is not.
        unsafe { FLOWS.get(key) }
    }

    #[inline(always)]
    fn observed(&self, socket: SocketCookie) -> Option<Address> {
        // SAFETY: the address is copied.
        unsafe { OBSERVED.get(socket) }.copied()
    }

    #[inline(always)]
    fn session(&self, id: SessionId) -> Option<&Session> {
        // SAFETY: as for flows.
        unsafe { SESSIONS.get(id) }
    }

    #[inline(always)]
    fn standing(&self, id: SessionId, source: Address) -> Standing {
        let [high, low] = source.words();
        Standing::from_number(cotter_standing(id.number(), high, low))
    }

    #[inline(always)]
    fn violated(&self, key: &FlowKey) -> Option<SessionId> {
        // SAFETY: as for flows; an entry that is overwritten meanwhile names another endpoint's generation.
        let violated = unsafe { VIOLATIONS.get(key) }?;
        // SAFETY: as for flows.
        let endpoint = unsafe { ENDPOINTS.get(violated.cookie()) }?;
        violated.is_still(endpoint, self.now()).then(|| endpoint.session())
    }

    #[inline(always)]
    fn has_asked(&self, asked: &Asked) -> bool {
        ASKED.get_ptr(asked).is_some()
    }

    #[inline(always)]
    fn may_have_grant(&self, source: Address) -> bool {
        let bits = PrefilterBits::of(source);
        let Some(word) = PREFILTER.get_ptr(bits.word()) else { return false };
        // SAFETY: a word of the map.
        bits.are_in(unsafe { *word })
    }

    #[inline(always)]
    fn grant(&self, source: Address) -> Option<&Grant> {
        // SAFETY: as for flows.
        unsafe { GRANTS.get(source) }
    }

    #[inline(always)]
    fn is_granted(&self, source: Address, port: GatedPort, is_login: bool) -> bool {
        let [high, low] = source.words();
        cotter_is_granted(high, low, port.number(), u32::from(is_login)) != 0
    }

    #[inline(always)]
    fn gates(&self, port: GatedPort) -> Gates {
        // SAFETY: the set is copied.
        unsafe { GATES.get(port) }.copied().unwrap_or(Gates::NONE)
    }

    #[inline(always)]
    fn is_connected(&self, connection: SocketCookie) -> bool {
        SOCKETS.get_ptr(connection).is_some()
    }

    #[inline(always)]
    fn last_use(&self, session: SessionId) -> Option<Nanoseconds> {
        // SAFETY: the time is copied.
        unsafe { USES.get(session) }.copied()
    }

    #[inline(always)]
    fn is_local(&self, address: Address) -> bool {
        let [first, second] = address.words();
        is_own(first, second)
    }

    #[inline(always)]
    fn penalty(&self, neighbourhood: Address) -> Option<&Penalty> {
        // SAFETY: as for flows.
        unsafe { PENALTIES.get(neighbourhood) }
    }

    #[inline(always)]
    fn may_knock(&self, neighbourhood: Address) -> bool {
        // Sources of one place share what they may; nobody knows who shares it with them.
        // SAFETY: a number like any other, but for the compiler, which knows another one.
        let salt = unsafe { (&raw const KNOCK_SALT).read_volatile() };
        let place = neighbourhood.salted(salt).place(KNOCKERS_BOUND.trailing_zeros());
        let Some(budget) = KNOCKERS.get_ptr_mut(place) else { return false };
        // SAFETY: a word of the entry; of racing CPUs one may take a token for nothing.
        unsafe { (*budget).take_knock(self.now()) }
    }

    #[inline(always)]
    fn is_never_dropped(&self, address: Address) -> bool {
        let [first, second] = address.words();
        is_spared(first, second)
    }
}

// As global functions, whose arguments are plain numbers, the verifier walks them once, whatever the way to them.

/// [`Standing::of`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn cotter_standing(id: u64, high: u64, low: u64) -> u32 {
    Standing::of(SessionId::new(id), Address::from_words([high, low]), &Maps).number()
}

/// [`is_granted`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn cotter_is_granted(high: u64, low: u64, port: u32, is_login: u32) -> u32 {
    let source = Address::from_words([high, low]);
    u32::from(is_granted(source, GatedPort::from_number(port), is_login != 0, &Maps))
}

// Functions of their own, which keep their keys off their callers' stack: older kernels (6.1) add up what is called in a row.

/// Whether the address of these words is the node's own.
#[cold]
#[inline(never)]
fn is_own(first: u64, second: u64) -> bool {
    LOCAL.get_ptr(Address::from_words([first, second])).is_some()
}

/// Whether the address of these words is never dropped.
#[cold]
#[inline(never)]
fn is_spared(first: u64, second: u64) -> bool {
    is_in(&NEVER_DROP, Address::from_words([first, second]))
}
