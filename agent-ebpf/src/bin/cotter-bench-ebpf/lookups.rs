//! One lookup in a table of any size, of any of its entries.

use core::net::Ipv4Addr;

use agent_ebpf::{Address, Endpoint, Grant, SocketCookie};
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;

use crate::draw;

/// As production has it; how many entries it has room for is set when it is made.
#[btf_map]
static ENDPOINTS: HashMap<SocketCookie, Endpoint, 1, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map]
static GRANTS: HashMap<Address, Grant, 1, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Looks for an endpoint by its socket's cookie.
#[xdp(frags)]
fn find_endpoint(_: XdpContext) -> u32 {
    if ENDPOINTS.get_ptr(SocketCookie::from(draw::any())).is_some() { XDP_PASS } else { XDP_ABORTED }
}

/// Looks for the grant of an address.
#[xdp(frags)]
fn find_grant(_: XdpContext) -> u32 {
    let address = Address::v4(Ipv4Addr::from(draw::any()).octets());
    if GRANTS.get_ptr(address).is_some() { XDP_PASS } else { XDP_ABORTED }
}
