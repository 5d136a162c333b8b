//! How long processors are busy receiving: all that the kernel does with a packet from its device to whoever drops it.
#![expect(unsafe_code, reason = "a map's entry is written through a pointer into kernel memory")]

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;

/// `NET_RX_SOFTIRQ` of `include/linux/interrupt.h`.
const RECEIVE: u32 = 3;

/// When this processor began to receive, and how long it has received before, in nanoseconds.
#[btf_map]
static RECEIVING: PerCpuArray<[u64; 2], 1> = PerCpuArray::new();

/// A processor begins to receive, or to do something else that was put off.
#[btf_tracepoint(function = "softirq_entry")]
fn receiving_begins(context: BtfTracePointContext) -> i32 {
    if context.arg::<u32>(0) == RECEIVE {
        note(|[begun, _], now| *begun = now);
    }
    0
}

/// It is done.
#[btf_tracepoint(function = "softirq_exit")]
fn receiving_ends(context: BtfTracePointContext) -> i32 {
    if context.arg::<u32>(0) == RECEIVE {
        note(|[begun, received], now| *received = received.wrapping_add(now.wrapping_sub(*begun)));
    }
    0
}

#[inline(always)]
fn note(change: impl FnOnce(&mut [u64; 2], u64)) {
    let Some(entry) = RECEIVING.get_ptr_mut(0) else { return };
    // SAFETY: reads a clock.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: this processor's own entry; these programs do not interrupt each other.
    change(unsafe { &mut *entry }, now);
}
