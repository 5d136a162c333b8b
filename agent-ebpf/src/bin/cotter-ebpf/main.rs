//! The kernel programs: XDP and TC judge packets at devices, a tracepoint removes the flows of closed sockets, and those
//! that hang on the sessions' cgroups (`endpoints`) know and judge what sessions open themselves; those of bastions and of what is
//! behind them are in `bastion`.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    allow(
        unsafe_code,
        reason = "hooks and licence are exported symbols; packet and map access have their own files"
    )
)]

mod bastion;
mod endpoints;
mod frame;
mod maps;
mod socket;
mod tables;
mod tally;
mod walks;

use agent_ebpf::{Action, Layer, Packet, verdict};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{btf_tracepoint, classifier, xdp};
use aya_ebpf::programs::{BtfTracePointContext, TcContext, XdpContext};

use crate::frame::ContextFrame;
use crate::maps::Maps;
use crate::tally::Reporter;

/// Goes on to the next program, and to the stack if there is none: `TCX_NEXT`, in clsact terms `TC_ACT_UNSPEC`.
const TC_NEXT: i32 = -1;
const TC_SHOT: i32 = 2;

/// `TCP_CLOSE` of `include/net/tcp_states.h`; also part of the kernel's user-space ABI.
const TCP_CLOSE: i32 = 7;

/// Ethernet devices whose driver runs XDP; `frags` lets it load on devices with jumbo frames.
#[xdp(frags)]
pub(crate) fn cotter_xdp(context: XdpContext) -> u32 {
    match judge(&context, Layer::Ethernet) {
        Action::Pass => XDP_PASS,
        Action::Drop => XDP_DROP,
    }
}

/// Ethernet devices by TC.
#[classifier]
pub(crate) fn cotter_tc(context: TcContext) -> i32 {
    match judge(&context, Layer::Ethernet) {
        Action::Pass => TC_NEXT,
        Action::Drop => TC_SHOT,
    }
}

/// Devices whose packets begin with the IP header: WireGuard, tun.
#[classifier]
pub(crate) fn cotter_tc_l3(context: TcContext) -> i32 {
    match judge(&context, Layer::Ip) {
        Action::Pass => TC_NEXT,
        Action::Drop => TC_SHOT,
    }
}

/// A TCP socket changed its state: its flow goes when it closes, and only then.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn cotter_close(context: BtfTracePointContext) -> i32 {
    if context.arg::<i32>(2) == TCP_CLOSE {
        Maps.forget_socket(frame::socket_cookie(&context));
    }
    0
}

#[inline(always)]
fn judge<C: Reporter>(context: &C, layer: Layer) -> Action {
    let frame = ContextFrame::new(context);
    let packet = Packet::parse(&frame, layer);
    let verdict = verdict(&packet, &Maps);
    Maps.count(&verdict);
    if verdict.reason.action() == Action::Drop || verdict.overruled.is_some() {
        Maps.report(context, layer, verdict);
    }
    verdict.reason.action()
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier proves that nothing gets here, or the program does not load.
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
