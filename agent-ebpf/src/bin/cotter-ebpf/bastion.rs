//! The programs of a bastion, which tell of the connections that sessions open to nodes, and of nodes behind one, which lead
//! its connections to the relay.
#![cfg_attr(
    target_arch = "bpf",
    allow(unsafe_code, reason = "hooks are exported symbols; socket and map access have their own files")
)]

use agent_ebpf::{Departure, PortClass, Tables, relay_slot};
use aya_ebpf::macros::{sk_lookup, sock_ops};
use aya_ebpf::programs::{SkLookupContext, SockOpsContext};

use crate::maps::{DEPARTURES, Maps, RELAY};
use crate::socket::{self, Socket};

/// `BPF_SOCK_OPS_TCP_CONNECT_CB` of `linux/bpf.h`: the socket has its port, and its first packet is about to leave.
const CONNECT: u32 = 3;
/// `SK_PASS` of `linux/bpf.h`.
const PASS: u32 = 1;

/// A socket of a session connects to where the agent may vouch for it.
#[sock_ops]
pub(crate) fn cotter_depart(context: SockOpsContext) -> u32 {
    if context.op() != CONNECT {
        return 1;
    }
    let (from, to) = socket::ends(&context);
    if !Maps.port_class(to.1).is_any(PortClass::TCP_VOUCHED) || !Maps.is_vouched_to(to.0) {
        return 1;
    }
    let Some(tag) = context.tag() else { return 1 };
    // One that is lost here is not vouched for, and not let in at the node.
    if let Some(mut record) = DEPARTURES.reserve(0) {
        record.write(Departure::of(tag.session(), from, to));
        record.submit(0);
    }
    1
}

/// A connection comes to this network: one of a trusted relay's to sshd's port goes to the relay of this node, whoever listens
/// at the port. If there is none it goes on as it is: the agent, or the hook without one, lets nobody in then whose address has
/// to be known.
#[sk_lookup]
pub(crate) fn cotter_steer(context: SkLookupContext) -> u32 {
    let Some((remote, local)) = socket::tcp_lookup(&context) else { return PASS };
    // What connects over loopback is the relay of this node itself, with a user's address.
    if local.0.is_loopback() || !Maps.port_class(local.1).is_any(PortClass::TCP_STEERED) {
        return PASS;
    }
    if !Maps.is_trusted_relay(remote) {
        return PASS;
    }
    let _led = RELAY.redirect_sk_lookup(&context, relay_slot(local.0), 0);
    PASS
}
