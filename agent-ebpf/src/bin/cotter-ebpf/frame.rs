//! Access to packets and sockets through the contexts that the kernel hands to a program.
#![expect(unsafe_code, reason = "packet access goes through raw pointers that the verifier checks")]

use core::ffi::c_void;

use agent_ebpf::{FARTHEST, Found, Frame, SocketCookie, Step};
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
};
use aya_ebpf::programs::{BtfTracePointContext, TcContext, XdpContext};

use crate::walks;

/// A context that holds a packet.
pub(crate) trait Context: EbpfContext {
    /// Where the part of the packet that lies in one piece begins.
    fn start(&self) -> usize;
    /// Where it ends.
    fn end(&self) -> usize;
    /// The index of the device that the packet came in on.
    fn interface(&self) -> u32;
    /// How long the packet is.
    fn length(&self) -> u32;
    /// Copies bytes from anywhere in the packet of the context behind the pointer; zeros if it ends before.
    ///
    /// # Safety
    /// The context must be the kernel's, of this kind, and `into` valid for writing `length` bytes.
    unsafe fn load(context: *mut c_void, at: u32, into: *mut c_void, length: u32);
    /// [`Found::behind_extensions`], by the global function for this context.
    fn behind_extensions(&self, next: u8, at: usize, end: usize) -> Found;
    /// [`Step::of`], by the global function for this context.
    fn step(&self, at: usize, end: usize) -> Step;
}

impl Context for XdpContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context is the kernel's for as long as the program runs.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as u32 }
    }

    #[inline(always)]
    unsafe fn load(context: *mut c_void, at: u32, into: *mut c_void, length: u32) {
        // SAFETY: the caller promises both.
        let _zeroed = unsafe { bpf_xdp_load_bytes(context.cast(), at, into, length) };
    }

    #[inline(always)]
    fn behind_extensions(&self, next: u8, at: usize, end: usize) -> Found {
        Found::from_number(walks::cotter_xdp_extensions(self.ctx, next.into(), at as u32, end as u32))
    }

    #[inline(always)]
    fn step(&self, at: usize, end: usize) -> Step {
        Step::from_number(walks::cotter_xdp_step(self.ctx, at as u32, end as u32))
    }
}

/// Of whatever program that the kernel gives a `__sk_buff` to.
impl Context for TcContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the kernel's for as long as the program runs.
        unsafe { (*self.skb.skb).ifindex }
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    unsafe fn load(context: *mut c_void, at: u32, into: *mut c_void, length: u32) {
        // SAFETY: the caller promises both.
        let _zeroed = unsafe { bpf_skb_load_bytes(context, at, into, length) };
    }

    #[inline(always)]
    fn behind_extensions(&self, next: u8, at: usize, end: usize) -> Found {
        Found::from_number(walks::cotter_skb_extensions(self.skb.skb, next.into(), at as u32, end as u32))
    }

    #[inline(always)]
    fn step(&self, at: usize, end: usize) -> Step {
        Step::from_number(walks::cotter_skb_step(self.skb.skb, at as u32, end as u32))
    }
}

/// A packet as a frame to parse.
pub(crate) struct ContextFrame<'c, C> {
    context: &'c C,
    /// Zero, of which the verifier does not know that it is.
    nothing: u16,
}

impl<'c, C: Context> ContextFrame<'c, C> {
    #[inline(always)]
    pub(crate) fn new(context: &'c C) -> Self {
        let mut word = u64::from_le(1);
        let start = &raw mut word;
        // SAFETY: a word of our own.
        unsafe { start.write_volatile(word) };
        // The verifier remembers what is stored as a whole, and of a part of it only the lowest; of zeros it remembers each.
        // SAFETY: its second half word.
        let nothing = unsafe { start.cast::<u16>().wrapping_add(1).read_volatile() };
        Self { context, nothing }
    }

    /// At most [`PIECE`] bytes that do not lie in one piece with the packet's beginning, as they lie in memory.
    #[inline(always)]
    fn copy(&self, at: usize, length: usize) -> u64 {
        // SAFETY: the context is the kernel's for as long as the program runs.
        unsafe { copy::<C>(self.context.as_ptr(), at as u32, length as u32) }
    }
}

impl<C: Context> Frame for ContextFrame<'_, C> {
    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        // Of "start + 1 <= end" the compiler makes "start < end", by which the verifier learns nothing.
        const { assert!(N > 1) };
        if at > FARTHEST {
            return None;
        }
        let start = self.context.start() + at;
        if start + N <= self.context.end() {
            // SAFETY: the comparison above proves to the verifier that these bytes lie in the packet; an array of
            // bytes needs no alignment.
            return Some(unsafe { (start as *const [u8; N]).read() });
        }
        if at + N > self.context.length() as usize {
            return None;
        }
        let mut bytes = [0; N];
        for (index, piece) in bytes.chunks_mut(PIECE).enumerate() {
            let copied = self.copy(at + index * PIECE, piece.len()).to_ne_bytes();
            piece.copy_from_slice(&copied[..piece.len()]);
        }
        Some(bytes)
    }

    // As a word from the start: what comes together from bytes of two origins takes a register for each of them.
    #[inline(always)]
    fn word(&self, at: usize) -> Option<u64> {
        if at > FARTHEST {
            return None;
        }
        let start = self.context.start() + at;
        if start + PIECE <= self.context.end() {
            // SAFETY: as in `read`; unaligned, as packets are.
            return Some(unsafe { (start as *const u64).read_unaligned() });
        }
        let whole = at + PIECE <= self.context.length() as usize;
        whole.then(|| self.copy(at, PIECE))
    }

    #[inline(always)]
    fn forget(&self, number: u16) -> u16 {
        let number = number.wrapping_add(self.nothing);
        // None is as large; the verifier likes a mask better than a comparison.
        number & FARTHEST as u16
    }

    #[inline(always)]
    fn behind_extensions(&self, next: u8, at: usize, end: usize) -> Found {
        self.context.behind_extensions(next, at, end)
    }

    #[inline(always)]
    fn step(&self, at: usize, end: usize) -> Step {
        self.context.step(at, end)
    }
}

/// How many bytes are copied at once.
const PIECE: usize = size_of::<u64>();

/// What [`ContextFrame::copy`] does, through a register because the kernel's stack is too small for a buffer in each place that
/// reads. The context comes as the kernel's pointer: what is lent to a function lies in memory, and is read from there each
/// time, also where none is called.
///
/// # Safety
/// The context must be the kernel's, of this kind.
#[cold]
#[inline(never)]
unsafe fn copy<C: Context>(context: *mut c_void, at: u32, length: u32) -> u64 {
    let mut piece = 0u64;
    // SAFETY: the callers' context, of which they ask no more than the piece holds.
    unsafe { C::load(context, at, (&raw mut piece).cast(), length) };
    piece
}

/// The cookie of the socket that a tracepoint's first argument points to.
#[inline(always)]
pub(crate) fn socket_cookie(context: &BtfTracePointContext) -> SocketCookie {
    let socket: *mut c_void = context.arg(0);
    // SAFETY: the tracepoint hands over a live socket, which the verifier knows by its type.
    unsafe { bpf_get_socket_cookie(socket) }
}
