//! What is counted and told of verdicts.
#![expect(
    unsafe_code,
    reason = "map lookups return references into kernel memory; global functions are exported symbols"
)]

use agent_ebpf::{Address, Drops, Event, Layer, Packet, SessionId, Tables, Verdict, device_slot};
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::debug;
use aya_log_ebpf::macro_support::{Level, level_enabled};

use crate::frame::{Context, ContextFrame};
use crate::maps::{COUNTERS, DEVICE_DROPS, DROPS, EVENT_TOKENS, EVENTS, Maps};

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
    /// A session's first always gets its event; of the others as many as the agent has allowed.
    #[inline(always)]
    pub(crate) fn report<C: Reporter>(&self, context: &C, layer: Layer, verdict: Verdict) {
        let Verdict { session, overruled, .. } = verdict;
        if overruled.is_none() {
            count_on(context.interface());
        }
        let first = session != SessionId::NONE && remember(session, overruled.is_some());
        let is_event = first || take_token();
        // Asked here, so that who reads no log does not pay for the call.
        if is_event || level_enabled(Level::Debug) {
            context.tell(layer, session, verdict.number(), is_event);
        }
    }
}

/// A context that knows the global function which tells of its packet. That finds the headers once more: held ready for it,
/// they would cost each packet that nobody is told of.
pub(crate) trait Reporter: Context {
    /// Tells of the verdict with this [`Verdict::number`]: the log, and the agent if it `is_event`.
    fn tell(&self, layer: Layer, session: SessionId, verdict: u32, is_event: bool);
}

impl Reporter for XdpContext {
    #[inline(always)]
    fn tell(&self, _always_ethernet: Layer, session: SessionId, verdict: u32, is_event: bool) {
        cotter_xdp_tell(self.ctx, session.number(), verdict, u32::from(is_event));
    }
}

impl Reporter for TcContext {
    #[inline(always)]
    fn tell(&self, layer: Layer, session: SessionId, verdict: u32, is_event: bool) {
        let is_bare = u32::from(layer == Layer::Ip);
        cotter_skb_tell(self.skb.skb, session.number(), verdict, u32::from(is_event), is_bare);
    }
}

#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub(crate) extern "C" fn cotter_xdp_tell(
    context: *mut xdp_md,
    session: u64,
    verdict: u32,
    is_event: u32,
) -> u32 {
    tell(&XdpContext::new(context), Layer::Ethernet, SessionId::new(session), verdict, is_event != 0)
}

#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub(crate) extern "C" fn cotter_skb_tell(
    context: *mut __sk_buff,
    session: u64,
    verdict: u32,
    is_event: u32,
    is_bare: u32,
) -> u32 {
    let layer = if is_bare == 0 { Layer::Ethernet } else { Layer::Ip };
    tell(&TcContext::new(context), layer, SessionId::new(session), verdict, is_event != 0)
}

/// Returns zero: global functions return a number.
#[inline(always)]
fn tell<C: Context>(context: &C, layer: Layer, session: SessionId, verdict: u32, is_event: bool) -> u32 {
    let frame = ContextFrame::new(context);
    let packet = Packet::parse(&frame, layer);
    // A full ring loses the event; the counters do not.
    if is_event && let Some(mut record) = EVENTS.reserve(0) {
        record.write(Event::new(Maps.now(), &packet, session, verdict, context.interface()));
        record.submit(0);
    }
    if level_enabled(Level::Debug) {
        let [high, low] = packet.source().words();
        log(context, verdict, session, high, low);
    }
    0
}

// Functions of their own, because the stack of one is too small for all.

/// Counts in the session's record; true if it is the first of its kind.
#[inline(never)]
fn remember(session: SessionId, is_overruled: bool) -> bool {
    let Some(drops) = DROPS.get_ptr_mut(session) else { return false };
    // SAFETY: the verifier knows the entry's size; the agent only reads it.
    let first = unsafe { (*drops).last().is_none() };
    // SAFETY: the offset lies inside the record.
    let count = unsafe { drops.byte_add(Drops::count_at(is_overruled)) };
    add_one(count.cast());
    // SAFETY: as above; whole words are written, and either of two racing times will do.
    unsafe { (*drops).seen(Maps.now()) };
    first
}

/// Tells who reads the kernel's log of a drop; of the source the words of its address.
#[cold]
#[inline(never)]
fn log<C: Context>(context: &C, verdict: u32, session: SessionId, high: u64, low: u64) {
    let source = Address::from_words([high, low]);
    debug!(context, "reason {} session {:x} from {:i}", verdict as u8, session.number(), source.octets());
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
    if let Some(count) = DEVICE_DROPS.get_ptr_mut(device_slot(interface)) {
        // SAFETY: this CPU's own slot, as above.
        unsafe { *count += 1 };
    }
}

/// Takes one of the events that the agent has allowed this CPU: a clock would cost a flood more than all that is counted.
#[inline(always)]
fn take_token() -> bool {
    let Some(tokens) = EVENT_TOKENS.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own slot, as above.
    let left = unsafe { tokens.read() };
    if left == 0 {
        return false;
    }
    // SAFETY: as above. Where the agent fills it up in between, one of two is lost.
    unsafe { tokens.write(left - 1) };
    true
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
