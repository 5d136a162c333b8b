//! Access to sockets through the contexts that the kernel hands to a program, and to what they remember.
#![expect(
    unsafe_code,
    reason = "contexts and socket storage are reached through raw pointers that the verifier checks"
)]

use core::ffi::c_void;
use core::ptr;

use agent_ebpf::{Address, Port, Protocol, SocketCookie, Tag};
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{
    BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_map_type, bpf_sk_lookup, bpf_sock,
    bpf_sock_addr, bpf_sock_ops,
};
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_netns_cookie, bpf_get_socket_cookie,
    bpf_sk_ancestor_cgroup_id, bpf_sk_storage_delete, bpf_sk_storage_get,
};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::{SkBuffContext, SkLookupContext, SockAddrContext, SockContext, SockOpsContext};

/// `AF_INET` of `linux/socket.h`.
const AF_INET: u32 = 2;
/// `TCP_ESTABLISHED` of `include/net/tcp_states.h`: of a UDP socket, that it is connected.
const ESTABLISHED: u32 = 1;
/// `linux/in.h`.
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_UDPLITE: u32 = 136;
const IPPROTO_MPTCP: u32 = 262;
/// How deep below the root of the hierarchy a session's cgroup may lie.
const DEPTH: i32 = 12;

/// A field of a context, or of a socket that was found to be one.
macro_rules! field {
    ($of:expr, $field:ident) => {{
        // SAFETY: it is the kernel's for as long as the program runs, and the verifier knows its fields.
        unsafe { (*$of).$field }
    }};
}

/// Which kind of addresses a program is for.
#[derive(Clone, Copy)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Socket storage whose values are inherited by accepted connections.
#[repr(C)]
struct Storage {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const Tag,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: the fields only carry types for the loader, and are never followed.
unsafe impl Sync for Storage {}

#[btf_map]
static TAGS: Storage = Storage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// What a socket remembers; with `create`, it remembers that from now on if it remembered nothing.
///
/// # Safety
/// `socket` must be what the kernel takes for a socket in the program that runs, or null.
#[inline(always)]
unsafe fn storage(socket: *mut c_void, create: Option<&mut Tag>) -> Option<*mut Tag> {
    if socket.is_null() {
        return None;
    }
    let flags = if create.is_some() { u64::from(BPF_SK_STORAGE_GET_F_CREATE) } else { 0 };
    let initial: *mut Tag = create.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the caller promises the socket; the map is the loader's.
    let tag =
        unsafe { bpf_sk_storage_get((&raw const TAGS).cast_mut().cast(), socket, initial.cast(), flags) };
    let tag: *mut Tag = tag.cast();
    (!tag.is_null()).then_some(tag)
}

/// A context that stands for a socket of the current process.
pub(crate) trait Socket: EbpfContext {
    /// The socket, as the kernel takes it in this kind of program.
    fn socket(&self) -> *mut c_void;

    /// What the socket remembers, if it remembers anything.
    #[inline(always)]
    fn tag(&self) -> Option<Tag> {
        // SAFETY: the context's own socket.
        let tag = unsafe { storage(self.socket(), None) }?;
        // SAFETY: the verifier knows the value's size.
        Some(unsafe { *tag })
    }

    /// Changes what the socket remembers, if it remembers anything. Of threads that change it at once, one wins.
    #[inline(always)]
    fn change_tag(&self, change: impl FnOnce(Tag) -> Tag) {
        // SAFETY: as above.
        if let Some(tag) = unsafe { storage(self.socket(), None) } {
            // SAFETY: as above.
            let former = unsafe { *tag };
            // SAFETY: as above; whole words are written.
            unsafe { *tag = change(former) };
        }
    }

    /// Has the socket remember this if it remembers nothing; false if it cannot.
    #[inline(always)]
    fn insert_tag(&self, mut tag: Tag) -> bool {
        // SAFETY: as above.
        unsafe { storage(self.socket(), Some(&mut tag)) }.is_some()
    }

    /// Has the socket remember nothing any more, and with it those that it accepts.
    #[inline(always)]
    fn remove_tag(&self) {
        if !self.socket().is_null() {
            // SAFETY: the context's own socket.
            let _none = unsafe { bpf_sk_storage_delete((&raw const TAGS).cast_mut().cast(), self.socket()) };
        }
    }

    /// The socket's cookie.
    #[inline(always)]
    fn cookie(&self) -> SocketCookie {
        // SAFETY: the context is the kernel's for as long as the program runs.
        unsafe { bpf_get_socket_cookie(self.as_ptr()) }
    }
}

/// Sockets that were just made, bound, or closed.
impl Socket for SockContext {
    #[inline(always)]
    fn socket(&self) -> *mut c_void {
        self.as_ptr()
    }
}

/// Sockets that are about to be bound or connected, or to send.
impl Socket for SockAddrContext {
    #[inline(always)]
    fn socket(&self) -> *mut c_void {
        let socket = field!(self.sock_addr, __bindgen_anon_1);
        // SAFETY: the only member of the union.
        unsafe { socket.sk }.cast()
    }
}

/// Sockets of TCP.
impl Socket for SockOpsContext {
    #[inline(always)]
    fn socket(&self) -> *mut c_void {
        let socket = field!(self.ops, __bindgen_anon_2);
        // SAFETY: the only member of the union.
        unsafe { socket.sk }.cast()
    }
}

/// Sockets that a packet has come to.
impl Socket for SkBuffContext {
    #[inline(always)]
    fn socket(&self) -> *mut c_void {
        received_by(self).cast()
    }
}

#[inline(always)]
fn received_by(context: &SkBuffContext) -> *mut bpf_sock {
    let socket = field!(context.skb.skb, __bindgen_anon_2);
    // SAFETY: the only member of the union.
    unsafe { socket.sk }
}

/// The cookie of the socket's network namespace.
#[inline(always)]
pub(crate) fn network(context: &impl Socket) -> u64 {
    // SAFETY: the context is the kernel's for as long as the program runs.
    unsafe { bpf_get_netns_cookie(context.as_ptr()) }
}

/// The first of the current process's cgroups, from the innermost, that is something.
#[inline(always)]
pub(crate) fn current_cgroups<T>(what: impl Fn(u64) -> Option<T>) -> Option<T> {
    // SAFETY: asks for a number; 0 if there is no such level.
    innermost(what, |level| unsafe { bpf_get_current_ancestor_cgroup_id(level) })
}

/// The first of the cgroups of the socket that a packet has come to, from the innermost, that is something.
#[inline(always)]
pub(crate) fn cgroups_of_receiver<T>(context: &SkBuffContext, what: impl Fn(u64) -> Option<T>) -> Option<T> {
    let socket = received_by(context);
    if socket.is_null() {
        return None;
    }
    // SAFETY: the socket is the context's; 0 if there is no such level.
    innermost(what, |level| unsafe { bpf_sk_ancestor_cgroup_id(socket.cast(), level) })
}

#[inline(always)]
fn innermost<T>(what: impl Fn(u64) -> Option<T>, ancestor: impl Fn(i32) -> u64) -> Option<T> {
    let mut found = None;
    for level in 1..DEPTH {
        let cgroup = ancestor(level);
        if cgroup == 0 {
            break;
        }
        if let Some(it) = what(cgroup) {
            found = Some(it);
        }
    }
    found
}

/// The protocol that a socket counts as, if it is one of those that are held.
#[inline(always)]
pub(crate) fn protocol(context: &SockContext) -> Option<Protocol> {
    // SAFETY: the context is the kernel's for as long as the program runs.
    match unsafe { (*context.sock).protocol } {
        IPPROTO_TCP | IPPROTO_MPTCP => Some(Protocol::Tcp),
        IPPROTO_UDP | IPPROTO_UDPLITE => Some(Protocol::Udp),
        _other => None,
    }
}

/// Where a socket that was just bound is reached. A program of one family may read addresses of that one alone.
#[inline(always)]
pub(crate) fn bound_to(context: &SockContext, family: Family) -> (Address, Port) {
    let socket = context.sock;
    // SAFETY: the context is the kernel's for as long as the program runs.
    let port = unsafe { (*socket).src_port };
    let address = match family {
        // SAFETY: as above.
        Family::V4 => Address::v4(unsafe { (*socket).src_ip4 }.to_ne_bytes()),
        Family::V6 => {
            // SAFETY: as above; nothing is read yet.
            v6_at(unsafe { &raw const (*socket).src_ip6 })
        }
    };
    (address, Port::new(port as u16))
}

/// Where a listener is reached.
#[inline(always)]
pub(crate) fn listens_at(context: &SockOpsContext) -> (Address, Port) {
    let ops: *mut bpf_sock_ops = context.ops;
    let (family, port) = (field!(ops, family), field!(ops, local_port));
    let (ip4, ip6) = (field!(ops, local_ip4), field!(ops, local_ip6));
    (address(family, ip4, ip6), Port::new(port as u16))
}

/// Both ends of a socket of TCP: its own, and the other.
#[inline(always)]
pub(crate) fn ends(context: &SockOpsContext) -> ((Address, Port), (Address, Port)) {
    let ops: *mut bpf_sock_ops = context.ops;
    let (family, port) = (field!(ops, family), field!(ops, remote_port));
    let (ip4, ip6) = (field!(ops, remote_ip4), field!(ops, remote_ip6));
    // In network order, in the upper half of what a word is in memory.
    (listens_at(context), (address(family, ip4, ip6), Port::new(u32::from_be(port) as u16)))
}

/// Who connects, and to where, where a socket of TCP is looked for.
#[inline(always)]
pub(crate) fn tcp_lookup(context: &SkLookupContext) -> Option<(Address, (Address, Port))> {
    let lookup: *mut bpf_sk_lookup = context.lookup;
    if field!(lookup, protocol) != IPPROTO_TCP {
        return None;
    }
    let (family, port) = (field!(lookup, family), field!(lookup, local_port));
    let remote = address(family, field!(lookup, remote_ip4), field!(lookup, remote_ip6));
    let local = address(family, field!(lookup, local_ip4), field!(lookup, local_ip6));
    Some((remote, (local, Port::new(port as u16))))
}

/// Whom the socket that a packet has come to is connected to.
#[inline(always)]
pub(crate) fn peer_of_receiver(context: &SkBuffContext) -> Option<Address> {
    let socket = received_by(context);
    if socket.is_null() {
        return None;
    }
    let (state, family) = (field!(socket, state), field!(socket, family));
    let (ip4, ip6) = (field!(socket, dst_ip4), field!(socket, dst_ip6));
    (state == ESTABLISHED).then(|| address(family, ip4, ip6))
}

/// Whether the address that a socket is to be bound to leaves the port to the kernel.
#[inline(always)]
pub(crate) fn asks_for_any_port(context: &SockAddrContext) -> bool {
    // SAFETY: the context is the kernel's for as long as the program runs.
    unsafe { (*context.sock_addr).user_port == 0 }
}

/// Whom a socket sends to. A program of one family may read addresses of that one alone.
#[inline(always)]
pub(crate) fn target(context: &SockAddrContext, family: Family) -> (Address, Port) {
    let it: *mut bpf_sock_addr = context.sock_addr;
    // SAFETY: the context is the kernel's for as long as the program runs.
    let port = unsafe { (*it).user_port };
    let address = match family {
        // SAFETY: as above.
        Family::V4 => Address::v4(unsafe { (*it).user_ip4 }.to_ne_bytes()),
        Family::V6 => {
            // SAFETY: as above; nothing is read yet.
            v6_at(unsafe { &raw const (*it).user_ip6 })
        }
    };
    (address, Port::from_octets((port as u16).to_ne_bytes()))
}

/// An address of a socket; each of its words is in network order.
#[inline(always)]
fn address(family: u32, ip4: u32, ip6: [u32; 4]) -> Address {
    if family == AF_INET { Address::v4(ip4.to_ne_bytes()) } else { v6(ip6) }
}

/// An address of IPv6 in a context that may be read word by word alone.
#[inline(always)]
fn v6_at(words: *const [u32; 4]) -> Address {
    let at = |index: usize| {
        // SAFETY: one of the four words of a context, which is the kernel's for as long as the program runs.
        unsafe { words.cast::<u32>().wrapping_add(index).read_volatile() }
    };
    v6([at(0), at(1), at(2), at(3)])
}

#[inline(always)]
fn v6([a, b, c, d]: [u32; 4]) -> Address {
    let halves = [a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes(), d.to_ne_bytes()];
    let mut octets = [0; 16];
    octets.as_chunks_mut().0.copy_from_slice(&halves);
    Address::new(octets)
}
