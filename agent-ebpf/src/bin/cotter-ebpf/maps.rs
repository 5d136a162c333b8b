//! The maps, and the verdict's questions answered from them.
#![expect(unsafe_code, reason = "map lookups return references into kernel memory")]

use agent_ebpf::{
    Address, Asked, Budget, Drops, Endpoint, Event, Flow, FlowKey, Frame, Nanoseconds, Node, Packet, Penalty,
    Port, PortClass, Ports, Reason, Session, SessionId, SocketCookie, Tables, Tag, Verdict, Violated,
};
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use aya_log_ebpf::debug;

use crate::frame::Context;

/// Most nodes have few sessions, so the tables take memory by the entry; their bound is set when they are made.
const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;
const SESSIONS_BOUND: usize = 1 << 17;
const FLOWS_BOUND: usize = 1 << 18;
const DETAILS_SIZE: usize = agent_ebpf::DETAILS_CAPACITY + size_of::<u32>();

#[btf_map]
static NODE: Array<Node, 1> = Array::new();
#[btf_map]
static PORTS: Array<Ports, 1> = Array::new();
#[btf_map]
static LOCAL: HashMap<Address, u8, 65536, ON_DEMAND> = HashMap::new();
#[btf_map]
static FLOWS: HashMap<FlowKey, Flow, FLOWS_BOUND, ON_DEMAND> = HashMap::new();
#[btf_map]
static SOCKETS: HashMap<SocketCookie, FlowKey, FLOWS_BOUND, ON_DEMAND> = HashMap::new();
#[btf_map]
static SESSIONS: HashMap<SessionId, Session, SESSIONS_BOUND, ON_DEMAND> = HashMap::new();
/// Written and read by the agent alone; declared here so that it is made with the others.
#[btf_map]
static DETAILS: HashMap<SessionId, [u8; DETAILS_SIZE], SESSIONS_BOUND, ON_DEMAND> = HashMap::new();
#[btf_map]
static DROPS: HashMap<SessionId, Drops, SESSIONS_BOUND, ON_DEMAND> = HashMap::new();
/// By the index of the device; the agent makes the entries.
#[btf_map]
static INTERFACE_DROPS: HashMap<u32, u64, 16384, ON_DEMAND> = HashMap::new();
#[btf_map]
static NEVER_DROP: LpmTrie<Address, u8, 4096> = LpmTrie::new();
#[btf_map]
static PENALTIES: HashMap<Address, Penalty, 16384, ON_DEMAND> = HashMap::new();
/// Whose a cgroup is, by its id, which is its directory's inode.
#[btf_map]
static CGROUPS: HashMap<u64, SessionId, FLOWS_BOUND, ON_DEMAND> = HashMap::new();
#[btf_map]
static ENDPOINTS: HashMap<SocketCookie, Endpoint, 65536, ON_DEMAND> = HashMap::new();
/// A memory of what sockets have judged already: what it forgets is judged again.
#[btf_map]
static VIOLATIONS: LruHashMap<FlowKey, Violated, 16384> = LruHashMap::new();
#[btf_map]
static ASKED: LruHashMap<Asked, u8, 16384> = LruHashMap::new();
#[btf_map]
static LEARN_BUDGET: PerCpuArray<Budget, 1> = PerCpuArray::new();
#[btf_map]
static COUNTERS: PerCpuArray<u64, { Reason::COUNTERS as usize }> = PerCpuArray::new();
#[btf_map]
static EVENTS: RingBuf<Event, { 1 << 18 }> = RingBuf::new();
#[btf_map]
static EVENT_BUDGET: PerCpuArray<Budget, 1> = PerCpuArray::new();

/// A trie's key whose address lies aligned behind the prefix length: the stack must be accessed so.
#[repr(C, align(8))]
struct AlignedKey {
    _padding: u32,
    key: Key<Address>,
}

/// The maps of this node.
pub(crate) struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn now(&self) -> Nanoseconds {
        // SAFETY: reads a clock.
        unsafe { bpf_ktime_get_coarse_ns() }
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
    fn session(&self, id: SessionId) -> Option<&Session> {
        // SAFETY: as for flows.
        unsafe { SESSIONS.get(id) }
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
    fn is_never_dropped(&self, address: Address) -> bool {
        let [first, second] = address.words();
        is_spared(first, second)
    }
}

// Functions of their own, which keep their keys off their callers' stack: older kernels (6.1) add up what is called in a row.

/// Whether the address of these words is the node's own.
#[inline(never)]
fn is_own(first: u64, second: u64) -> bool {
    LOCAL.get_ptr(Address::from_words([first, second])).is_some()
}

/// Whether the address of these words is never dropped.
#[inline(never)]
fn is_spared(first: u64, second: u64) -> bool {
    let whole = AlignedKey { _padding: 0, key: Key::new(128, Address::from_words([first, second])) };
    NEVER_DROP.get(&whole.key).is_some()
}

impl Maps {
    /// Adds a packet to the counters of its reason and of the reason that was overruled.
    #[inline(always)]
    pub(crate) fn count(&self, verdict: &Verdict) {
        increment(verdict.reason.counter());
        if let Some(reason) = verdict.overruled {
            increment(reason.overruled_counter());
        }
    }

    /// Remembers a drop, or one that was overruled, with its session and tells the agent.
    ///
    /// A session's first always gets its event; of the others as many as the budget allows.
    // A function of its own, because the stack of one is too small for all.
    #[inline(never)]
    pub(crate) fn report<C: Context, F: Frame>(
        &self,
        context: &C,
        packet: &Packet<'_, F>,
        verdict: &Verdict,
    ) {
        let now = self.now();
        let first = Self::remember(verdict, now);
        if verdict.overruled.is_none() {
            count_on(context.interface());
        }
        debug!(
            context,
            "reason {} session {:x} from {:i}",
            verdict.reason as u8,
            verdict.session.number(),
            packet.source().octets()
        );
        if first || within_budget(now) {
            // A full ring loses the event; the counters do not.
            if let Some(mut record) = EVENTS.reserve(0) {
                record.write(Event::new(now, packet, verdict, context.interface()));
                record.submit(0);
            }
        }
    }

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
    }

    /// Counts in the session's record; true if it is the first of its kind.
    #[inline(always)]
    fn remember(verdict: &Verdict, now: Nanoseconds) -> bool {
        let Some(drops) = DROPS.get_ptr_mut(verdict.session) else { return false };
        // SAFETY: the verifier knows the entry's size; the agent only reads it.
        let first = unsafe { (*drops).last().is_none() };
        // SAFETY: the offset lies inside the record.
        let count = unsafe { drops.byte_add(Drops::count_at(verdict.overruled.is_some())) };
        add_one(count.cast());
        // SAFETY: as above; whole words are written, and either of two racing times will do.
        unsafe { (*drops).seen(now) };
        first
    }
}

#[inline(always)]
fn increment(counter: u32) {
    if let Some(count) = COUNTERS.get_ptr_mut(counter) {
        // SAFETY: this CPU's own slot, and programs of one hook do not nest. XDP and TC may meet on one CPU only in
        // turn, both in soft interrupt.
        unsafe { *count += 1 };
    }
}

/// Counts a drop on a device.
#[inline(always)]
fn count_on(interface: u32) {
    if let Some(count) = INTERFACE_DROPS.get_ptr_mut(interface) {
        add_one(count);
    }
}

#[inline(always)]
fn within_budget(now: Nanoseconds) -> bool {
    // SAFETY: this CPU's own slot, as above.
    EVENT_BUDGET.get_ptr_mut(0).is_some_and(|budget| unsafe { (*budget).take(now) })
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

/// Adds one where other CPUs may add too; the target has no `AtomicU64::fetch_add`.
#[inline(always)]
fn add_one(count: *mut u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: an atomic addition to a word of a map entry that was just looked up.
    unsafe {
        core::arch::asm!("lock *(u64 *)({count} + 0) += {one}", count = in(reg) count, one = in(reg) 1u64)
    };
    #[cfg(not(target_arch = "bpf"))]
    let _ = count;
}
