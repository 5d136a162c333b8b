//! Loops over what packets carry, as global functions: the verifier walks each once, whatever the way to it.
//!
//! Their contexts are pointers to what the kernel calls so: by these types it knows what they are (`btf_get_prog_ctx_type`).
#![cfg_attr(target_arch = "bpf", allow(unsafe_code, reason = "global functions are exported symbols"))]

use agent_ebpf::{FARTHEST, Found, Step};
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::programs::{TcContext, XdpContext};

use crate::frame::{Context, ContextFrame};

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn cotter_xdp_extensions(context: *mut xdp_md, next: u32, at: u32, end: u32) -> u64 {
    behind_extensions(&XdpContext::new(context), next, at, end)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn cotter_skb_extensions(context: *mut __sk_buff, next: u32, at: u32, end: u32) -> u64 {
    behind_extensions(&TcContext::new(context), next, at, end)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn cotter_xdp_step(context: *mut xdp_md, at: u32, end: u32) -> u32 {
    step(&XdpContext::new(context), at, end)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn cotter_skb_step(context: *mut __sk_buff, at: u32, end: u32) -> u32 {
    step(&TcContext::new(context), at, end)
}

#[inline(always)]
fn behind_extensions(context: &impl Context, next: u32, at: u32, end: u32) -> u64 {
    let frame = ContextFrame::new(context);
    Found::behind_extensions(&frame, next as u8, bounded(at), bounded(end)).number()
}

#[inline(always)]
fn step(context: &impl Context, at: u32, end: u32) -> u32 {
    Step::of(&ContextFrame::new(context), bounded(at), bounded(end)).number()
}

/// The same number, none of which is larger, as the verifier must see.
#[inline(always)]
fn bounded(number: u32) -> usize {
    number as usize & FARTHEST
}
