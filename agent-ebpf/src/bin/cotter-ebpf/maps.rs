//! The maps, and what the programs write there of sockets and their sessions.
#![expect(unsafe_code, reason = "map lookups return references into kernel memory")]

use agent_ebpf::{
    Address, Asked, Budget, DEVICES, Departure, Drops, Endpoint, Event, Flow, FlowKey, GatedPort, Gates,
    Grant, Home, Nanoseconds, Node, Penalty, Port, PortClass, Ports, PrefilterBits, RELAY_LISTENERS, Reason,
    Session, SessionId, SocketCookie, Tables, Tag, Violated,
};
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, SockMap};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_map;

/// Most nodes have few sessions, so the tables take memory by the entry; their bound is set when they are made.
const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;
const SESSIONS_BOUND: usize = 1 << 17;
const FLOWS_BOUND: usize = 1 << 18;
pub(crate) const KNOCKERS_BOUND: usize = 1 << 16;
const DETAILS_SIZE: usize = agent_ebpf::DETAILS_CAPACITY + size_of::<u32>();

#[btf_map]
pub(crate) static NODE: Array<Node, 1> = Array::new();
#[btf_map]
pub(crate) static PORTS: Array<Ports, 1> = Array::new();
#[btf_map]
pub(crate) static HOME: Array<Home, 1> = Array::new();
#[btf_map]
pub(crate) static LOCAL: HashMap<Address, u8, 65536, ON_DEMAND> = HashMap::new();
#[btf_map]
pub(crate) static FLOWS: HashMap<FlowKey, Flow, FLOWS_BOUND, ON_DEMAND> = HashMap::new();
#[btf_map]
pub(crate) static SOCKETS: HashMap<SocketCookie, FlowKey, FLOWS_BOUND, ON_DEMAND> = HashMap::new();
/// Where the users of relayed connections are.
#[btf_map]
pub(crate) static OBSERVED: HashMap<SocketCookie, Address, SESSIONS_BOUND, ON_DEMAND> = HashMap::new();
#[btf_map]
pub(crate) static SESSIONS: HashMap<SessionId, Session, SESSIONS_BOUND, ON_DEMAND> = HashMap::new();
/// Written and read by the agent alone; declared here so that it is made with the others.
#[btf_map]
pub(crate) static DETAILS: HashMap<SessionId, [u8; DETAILS_SIZE], SESSIONS_BOUND, ON_DEMAND> = HashMap::new();
#[btf_map]
pub(crate) static DROPS: HashMap<SessionId, Drops, SESSIONS_BOUND, ON_DEMAND> = HashMap::new();
#[btf_map]
pub(crate) static NEVER_DROP: LpmTrie<Address, u8, 4096> = LpmTrie::new();
#[btf_map]
pub(crate) static PENALTIES: HashMap<Address, Penalty, 16384, ON_DEMAND> = HashMap::new();
/// Whose a cgroup is, by its id, which is its directory's inode.
#[btf_map]
pub(crate) static CGROUPS: HashMap<u64, SessionId, FLOWS_BOUND, ON_DEMAND> = HashMap::new();
#[btf_map]
pub(crate) static ENDPOINTS: HashMap<SocketCookie, Endpoint, 65536, ON_DEMAND> = HashMap::new();
/// A memory of what sockets have judged already: what it forgets is judged again.
#[btf_map]
pub(crate) static VIOLATIONS: LruHashMap<FlowKey, Violated, 16384> = LruHashMap::new();
#[btf_map]
pub(crate) static ASKED: LruHashMap<Asked, u8, 16384> = LruHashMap::new();
/// Which gates stand before a port; of a gated port that is missing here, none opens.
#[btf_map]
pub(crate) static GATES: HashMap<GatedPort, Gates, 4096, ON_DEMAND> = HashMap::new();
/// Which sessions open their gates to an address, and until when a knock does.
#[btf_map]
pub(crate) static GRANTS: HashMap<Address, Grant, FLOWS_BOUND, ON_DEMAND> = HashMap::new();
/// Three bits for each address that has a grant.
#[btf_map]
pub(crate) static PREFILTER: Array<u64, { PrefilterBits::WORDS as usize }> = Array::new();
/// When an endpoint of a session last got a packet from its pin; the agent makes the entries.
#[btf_map]
pub(crate) static USES: HashMap<SessionId, Nanoseconds, SESSIONS_BOUND, ON_DEMAND> = HashMap::new();
/// How often sources have knocked of late.
#[btf_map]
pub(crate) static KNOCKERS: Array<Budget, KNOCKERS_BOUND> = Array::new();
#[btf_map]
pub(crate) static LEARN_BUDGET: PerCpuArray<Budget, 1> = PerCpuArray::new();
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { Reason::COUNTERS as usize }> = PerCpuArray::new();
/// By [`device_slot`].
#[btf_map]
pub(crate) static DEVICE_DROPS: PerCpuArray<u64, { DEVICES as usize }> = PerCpuArray::new();
#[btf_map]
pub(crate) static EVENTS: RingBuf<Event, { 1 << 18 }> = RingBuf::new();
#[btf_map]
pub(crate) static EVENT_TOKENS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The nodes to which the agent may vouch for who connects from here.
#[btf_map]
pub(crate) static VOUCHED: LpmTrie<Address, u8, 1024> = LpmTrie::new();
#[btf_map]
pub(crate) static DEPARTURES: RingBuf<Departure, { 1 << 18 }> = RingBuf::new();
/// Where the connections of trusted relays come from.
#[btf_map]
pub(crate) static TRUSTED_RELAYS: LpmTrie<Address, u8, 4096> = LpmTrie::new();
/// The listeners of this node's relay, one for each family.
#[btf_map]
pub(crate) static RELAY: SockMap<{ RELAY_LISTENERS as usize }> = SockMap::new();

/// The maps of this node.
pub(crate) struct Maps;

impl Maps {
    /// The session whose cgroup this is.
    #[inline(always)]
    pub(crate) fn session_of_cgroup(&self, cgroup: u64) -> Option<SessionId> {
        // SAFETY: the id is copied.
        unsafe { CGROUPS.get(cgroup) }.copied()
    }

    /// Whether a network namespace, by its cookie, is the node's.
    #[inline(always)]
    pub(crate) fn is_network(&self, cookie: u64) -> bool {
        self.node().is_some_and(|node| node.is_network(cookie))
    }

    /// Whether the agent may vouch to that address for who connects there.
    #[inline(always)]
    pub(crate) fn is_vouched_to(&self, address: Address) -> bool {
        is_in(&VOUCHED, address)
    }

    /// Whether a trusted relay connects from that address.
    #[inline(always)]
    pub(crate) fn is_trusted_relay(&self, address: Address) -> bool {
        is_in(&TRUSTED_RELAYS, address)
    }

    /// Lists an endpoint. If there is no room, its packets are judged at the socket all the same.
    #[inline(always)]
    pub(crate) fn list_endpoint(&self, cookie: SocketCookie, tag: &Tag, local: (Address, Port)) {
        let endpoint = Endpoint::new(tag, local.0, local.1, Self::unique());
        let _full = ENDPOINTS.insert(cookie, endpoint, 0);
    }

    /// A number that was never given before, by the finest of clocks.
    #[inline(always)]
    fn unique() -> u64 {
        // SAFETY: reads a clock.
        unsafe { bpf_ktime_get_ns() }
    }

    /// Takes an endpoint off the list.
    #[inline(always)]
    pub(crate) fn forget_endpoint(&self, cookie: SocketCookie) {
        let _none = ENDPOINTS.remove(cookie);
    }

    /// An endpoint answers to others than before: what was learnt of it counts no more.
    #[inline(always)]
    pub(crate) fn unlearn(&self, cookie: SocketCookie) {
        if let Some(endpoint) = ENDPOINTS.get_ptr_mut(cookie) {
            // SAFETY: an aligned word of the entry, which is written as a whole.
            unsafe { (*endpoint).set_generation(Self::unique()) };
        }
    }

    /// A socket has sent there of its own accord.
    #[inline(always)]
    pub(crate) fn remember_asked(&self, asked: &Asked) {
        // One that is known is not inserted again: that would cost others theirs.
        if !self.has_asked(asked) {
            let _lost = ASKED.insert(asked, 1, 0);
        }
    }

    /// The generation of an endpoint, if it is listed.
    #[inline(always)]
    pub(crate) fn generation(&self, cookie: SocketCookie) -> Option<u64> {
        // SAFETY: the number is copied.
        unsafe { ENDPOINTS.get(cookie) }.map(Endpoint::generation)
    }

    /// Lets devices drop for a while what a socket has just dropped, as long as both it and its session are what they are.
    #[inline(never)]
    pub(crate) fn learn(
        &self,
        violation: &FlowKey,
        violated: (SocketCookie, u64),
        port: Port,
        class: PortClass,
    ) {
        let now = self.now();
        // SAFETY: this CPU's own slot, as for the counters.
        if !LEARN_BUDGET.get_ptr_mut(0).is_some_and(|budget| unsafe { (*budget).take(now) }) {
            return;
        }
        let _lost = VIOLATIONS.insert(violation, Violated::new(violated.0, violated.1, now), 0);
        if let Some(ports) = PORTS.get_ptr_mut(0) {
            let (at, bits) = Ports::word_of(port, class);
            // SAFETY: the offset of an aligned word inside the map's only entry. If the agent writes the classes at the same
            // time, this bit may be lost, and is learnt again with the next violation.
            set_bits(unsafe { ports.byte_add(at) }.cast(), bits);
        }
    }

    /// An endpoint of a session got a packet from its pin. To the second is exact enough.
    #[inline(always)]
    pub(crate) fn remember_use(&self, session: SessionId) {
        const SECOND: Nanoseconds = 1_000_000_000;
        let Some(last) = USES.get_ptr_mut(session) else { return };
        let now = self.now();
        // SAFETY: an aligned word of the entry.
        let before = unsafe { last.read() };
        if now.saturating_sub(before) > SECOND {
            // SAFETY: as above; of racing writers any will do.
            unsafe { last.write(now) };
        }
    }

    /// Removes the flow of a socket that has closed. A flow that another socket has taken over stays.
    #[inline(always)]
    pub(crate) fn forget_socket(&self, cookie: SocketCookie) {
        self.forget_endpoint(cookie);
        // SAFETY: the key is copied before anything is removed.
        let Some(key) = (unsafe { SOCKETS.get(cookie) }).copied() else { return };
        if self.flow(&key).is_some_and(|flow| flow.cookie() == cookie) {
            let _gone = FLOWS.remove(key);
        }
        let _gone = SOCKETS.remove(cookie);
        let _gone = OBSERVED.remove(cookie);
    }
}

/// Sets bits where other CPUs may write too.
#[inline(always)]
fn set_bits(word: *mut u64, bits: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: an atomic operation on a word of a map entry that was just looked up.
    unsafe {
        core::arch::asm!("lock *(u64 *)({word} + 0) |= {bits}", word = in(reg) word, bits = in(reg) bits)
    };
    #[cfg(not(target_arch = "bpf"))]
    let _ = (word, bits);
}

/// A trie's key whose address lies aligned behind the prefix length: the stack must be accessed so.
#[repr(C, align(8))]
struct AlignedKey {
    _padding: u32,
    key: Key<Address>,
}

/// Whether an address lies in one of a trie's networks.
#[inline(always)]
pub(crate) fn is_in<const N: usize>(networks: &LpmTrie<Address, u8, N>, address: Address) -> bool {
    let whole = AlignedKey { _padding: 0, key: Key::new(128, address) };
    networks.get(&whole.key).is_some()
}
