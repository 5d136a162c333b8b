//! What the bench compares `cotter_xdp` with, XDP programs that pass every packet, at once or after a look at its headers,
//! or drop it; what makes it work: floods (`flood`), large tables (`lookups`); a clock for receiving (`receiving`);
//! and the other way to relay (`carry`).
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![expect(unsafe_code, reason = "the hook macro exports symbols; packet access has its own file")]

#[path = "../cotter-ebpf/frame.rs"]
#[expect(dead_code, reason = "the production programs use the rest")]
mod frame;
#[path = "../cotter-ebpf/walks.rs"]
mod walks;

mod carry;
mod draw;
mod flood;
mod lookups;
mod receiving;

use agent_ebpf::{Content, Frame, Layer, Packet};
use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::frame::ContextFrame;

/// Passes at once: what it costs to run a program at all.
#[xdp(frags)]
fn bare_pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// Drops at once: nothing can drop more.
#[xdp(frags)]
fn bare_drop(_: XdpContext) -> u32 {
    XDP_DROP
}

/// The shortest way to the port of a TCP packet over IPv4: what a program costs that knows no VLAN, no IPv6, no
/// fragments.
#[xdp(frags)]
fn parse_plainly(context: XdpContext) -> u32 {
    match tcp_port(&ContextFrame::new(&context)) {
        // Nothing of the work may be left out because its outcome does not matter.
        Some([0, 0]) | None => XDP_ABORTED,
        Some(_) => XDP_PASS,
    }
}

/// Finds all that production's parser finds, and passes.
#[xdp(frags)]
fn parse_fully(context: XdpContext) -> u32 {
    let frame = ContextFrame::new(&context);
    let packet = Packet::parse(&frame, Layer::Ethernet);
    let Content::Segment(segment) = packet.content() else { return XDP_ABORTED };
    if segment.destination.number() == 0 { XDP_ABORTED } else { XDP_PASS }
}

#[inline(always)]
fn tcp_port(frame: &impl Frame) -> Option<[u8; 2]> {
    const ETHERNET: usize = 14;
    const TCP: u8 = 6;

    if frame.read(12)? != [0x08, 0x00] {
        return None;
    }
    let header: [u8; 20] = frame.read(ETHERNET)?;
    if header[0] >> 4 != 4 || header[9] != TCP {
        return None;
    }
    let [_, _, high, low] = frame.read(ETHERNET + usize::from(header[0] & 0x0f) * 4)?;
    Some([high, low])
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
