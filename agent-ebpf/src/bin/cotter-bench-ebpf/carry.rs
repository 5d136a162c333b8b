//! Carries bytes between two connections within the kernel, as a relay could.
#![expect(unsafe_code, reason = "hooks and settings are exported symbols")]

use aya_ebpf::btf_maps::SockMap;
use aya_ebpf::macros::{btf_map, stream_verdict};
use aya_ebpf::programs::SkBuffContext;

use crate::draw;

/// The connection that was accepted, and the one that it goes on by.
#[btf_map]
static LEGS: SockMap<2> = SockMap::new();
/// Where the first was accepted.
#[unsafe(no_mangle)]
static FRONT: u32 = 0;

/// Has what one of them has received sent by the other.
#[stream_verdict]
fn carry(context: SkBuffContext) -> u32 {
    let other = u32::from(context.skb.local_port() == draw::setting(&FRONT));
    LEGS.redirect_skb(&context, other, 0) as u32
}
