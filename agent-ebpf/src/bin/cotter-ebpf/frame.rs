//! Access to packets and sockets through the contexts that the kernel hands to a program.
#![expect(unsafe_code, reason = "packet access goes through raw pointers that the verifier checks")]

use core::ffi::c_void;
use core::mem::MaybeUninit;

use agent_ebpf::{Frame, SocketCookie};
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skb_load_bytes, bpf_xdp_load_bytes};
use aya_ebpf::programs::{BtfTracePointContext, TcContext, XdpContext};

/// No header that is read begins behind this offset; the verifier wants a bound below 64 KiB.
const FARTHEST: usize = 0x7fff;

/// A context that holds a packet.
pub trait Context: EbpfContext {
    /// Where the part of the packet that lies in one piece begins.
    fn start(&self) -> usize;
    /// Where it ends.
    fn end(&self) -> usize;
    /// The index of the device that the packet came in on.
    fn interface(&self) -> u32;
    /// Copies bytes from anywhere in the packet; false if it ends before.
    ///
    /// # Safety
    /// `into` must be valid for writing `length` bytes.
    unsafe fn load(&self, at: u32, into: *mut c_void, length: u32) -> bool;
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
    unsafe fn load(&self, at: u32, into: *mut c_void, length: u32) -> bool {
        // SAFETY: the context is the kernel's, and the caller promises the buffer.
        unsafe { bpf_xdp_load_bytes(self.ctx, at, into, length) == 0 }
    }
}

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
    unsafe fn load(&self, at: u32, into: *mut c_void, length: u32) -> bool {
        // SAFETY: the context is the kernel's, and the caller promises the buffer.
        unsafe { bpf_skb_load_bytes(self.as_ptr(), at, into, length) == 0 }
    }
}

/// A packet as a frame to parse.
pub struct ContextFrame<'c, C> {
    context: &'c C,
}

impl<'c, C: Context> ContextFrame<'c, C> {
    #[inline(always)]
    pub fn new(context: &'c C) -> Self {
        Self { context }
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
        load(self.context, at)
    }

    #[inline(always)]
    fn forget(&self, offset: u16) -> u16 {
        // The verifier remembers what is stored as a whole, but not what comes together from single bytes.
        let mut bytes = MaybeUninit::<[u8; 2]>::uninit();
        let [low, high] = offset.to_ne_bytes();
        let first = bytes.as_mut_ptr().cast::<u8>();
        // SAFETY: writes within the two bytes.
        unsafe { first.write_volatile(low) };
        // SAFETY: as above.
        unsafe { first.add(1).write_volatile(high) };
        // SAFETY: both bytes are written.
        u16::from_ne_bytes(unsafe { bytes.as_ptr().read_volatile() })
    }
}

/// Reads what does not lie in one piece with the packet's beginning: rare, so out of the way.
#[inline(never)]
fn load<C: Context, const N: usize>(context: &C, at: usize) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: the buffer holds N bytes.
    let whole = unsafe { context.load(at as u32, bytes.as_mut_ptr().cast(), N as u32) };
    // SAFETY: the helper has written all N bytes, or zeroes and the answer that it failed.
    whole.then(|| unsafe { bytes.assume_init() })
}

/// The cookie of the socket that a tracepoint's first argument points to.
#[inline(always)]
pub fn socket_cookie(context: &BtfTracePointContext) -> SocketCookie {
    let socket: *mut c_void = context.arg(0);
    // SAFETY: the tracepoint hands over a live socket, which the verifier knows by its type.
    unsafe { bpf_get_socket_cookie(socket) }
}
