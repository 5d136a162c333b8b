//! The programs that hang on the sessions' cgroups: which sockets are endpoints, and what may come in there.
#![cfg_attr(
    target_arch = "bpf",
    allow(unsafe_code, reason = "hooks are exported symbols; socket and map access have their own files")
)]

use agent_ebpf::{
    Action, Asked, Content, Endpoint, Layer, Packet, PortClass, Protocol, Receiver, SessionId, Tag,
    Violation, verdict_at_socket,
};
use aya_ebpf::macros::{cgroup_skb, cgroup_sock, cgroup_sock_addr, sock_ops};
use aya_ebpf::programs::{SkBuffContext, SockAddrContext, SockContext, SockOpsContext};

use crate::frame::{Context, ContextFrame};
use crate::maps::Maps;
use crate::socket::{self, Family, Socket};

/// What a program of a cgroup answers if the kernel may go on.
const GO_ON: i32 = 1;
/// What a program of a cgroup answers to drop a packet.
const DROP: i32 = 0;

/// The first device of every network namespace (`LOOPBACK_IFINDEX` of `include/net/net_namespace.h`).
const LOOPBACK: u32 = 1;
/// `IPPROTO_UDP`.
const UDP: u32 = 17;
/// `BPF_SOCK_OPS_TCP_LISTEN_CB` of `linux/bpf.h`.
const LISTEN: u32 = 11;

/// A socket is made: it remembers for whom.
#[cgroup_sock(sock_create)]
pub(crate) fn cotter_create(context: SockContext) -> i32 {
    tag(&context);
    GO_ON
}

/// What a socket of the node's network remembers; if nothing, from now on the session whose process this is.
#[inline(always)]
fn tag(context: &SockContext) -> Option<Tag> {
    let known = context.tag();
    if known.is_some() || !Maps.is_network(socket::network(context)) {
        return known;
    }
    let tag = Tag::of(socket::current_cgroups(|cgroup| Maps.session_of_cgroup(cgroup))?);
    context.insert_tag(tag);
    Some(tag)
}

/// A socket is about to be bound to an address of IPv4.
#[cgroup_sock_addr(bind4)]
pub(crate) fn cotter_bind4(context: SockAddrContext) -> i32 {
    bind(&context)
}

/// A socket is about to be bound to an address of IPv6.
#[cgroup_sock_addr(bind6)]
pub(crate) fn cotter_bind6(context: SockAddrContext) -> i32 {
    bind(&context)
}

#[inline(always)]
fn bind(context: &SockAddrContext) -> i32 {
    let any = socket::asks_for_any_port(context);
    context.change_tag(|tag| tag.set_any_port(any));
    GO_ON
}

/// A socket was bound to an address of IPv4.
#[cgroup_sock(post_bind4)]
pub(crate) fn cotter_bound4(context: SockContext) -> i32 {
    bound(&context, Family::V4)
}

/// A socket was bound to an address of IPv6.
#[cgroup_sock(post_bind6)]
pub(crate) fn cotter_bound6(context: SockContext) -> i32 {
    bound(&context, Family::V6)
}

/// A UDP socket that was bound is an endpoint; of TCP only those are that listen. Sockets that the kernel makes itself, such
/// as those which carry one of MPTCP, are first seen here.
#[inline(always)]
fn bound(context: &SockContext, family: Family) -> i32 {
    let Some(tag) = tag(context) else { return GO_ON };
    if socket::protocol(context) != UDP {
        return GO_ON;
    }
    context.change_tag(|tag| tag.set_open(true));
    let (address, port) = socket::bound_to(context, family);
    Maps.list_endpoint(context.cookie(), &Endpoint::new(&tag, Protocol::Udp, address, port));
    GO_ON
}

/// A TCP socket listens.
#[sock_ops]
pub(crate) fn cotter_listen(context: SockOpsContext) -> u32 {
    if context.op() != LISTEN {
        return 1;
    }
    let (address, port) = socket::listens_at(&context);
    // One of the kernel's own that was never bound: whose it is, its first packet tells.
    if context.tag().is_none() && Maps.is_network(socket::network(&context)) {
        context.insert_tag(Tag::of(SessionId::NONE));
    }
    let Some(tag) = context.tag() else { return 1 };
    context.change_tag(|tag| tag.set_open(true));
    Maps.list_endpoint(context.cookie(), &Endpoint::new(&tag, Protocol::Tcp, address, port));
    1
}

/// A socket connects to an address of IPv4.
#[cgroup_sock_addr(connect4)]
pub(crate) fn cotter_connect4(context: SockAddrContext) -> i32 {
    connect(&context)
}

/// A socket connects to an address of IPv6.
#[cgroup_sock_addr(connect6)]
pub(crate) fn cotter_connect6(context: SockAddrContext) -> i32 {
    connect(&context)
}

/// Whoever a UDP socket is connected to may answer, for as long as it is.
#[inline(always)]
fn connect(context: &SockAddrContext) -> i32 {
    if context.tag().is_some_and(|tag| tag.is_open()) {
        Maps.unlearn(context.cookie());
    }
    GO_ON
}

/// A socket that is not connected sends to an address of IPv4.
#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn cotter_send4(context: SockAddrContext) -> i32 {
    send(&context, Family::V4)
}

/// A socket that is not connected sends to an address of IPv6.
#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn cotter_send6(context: SockAddrContext) -> i32 {
    send(&context, Family::V6)
}

/// Whom a socket of any port sends to may answer.
///
/// A server sends to its former clients too, so where a port was asked for nobody is let in by this: if a session's pin
/// moves, its former place must not stay open for the sake of what is still sent there.
#[inline(always)]
fn send(context: &SockAddrContext, family: Family) -> i32 {
    if context.tag().is_some_and(|tag| tag.is_open() && tag.has_any_port()) {
        let (cookie, (address, port)) = (context.cookie(), socket::target(context, family));
        Maps.remember_asked(&Asked::new(cookie, address, port));
    }
    GO_ON
}

/// A socket is closed.
#[cgroup_sock(sock_release)]
pub(crate) fn cotter_release(context: SockContext) -> i32 {
    Maps.forget_endpoint(context.cookie());
    GO_ON
}

/// A packet has come to a socket.
#[cgroup_skb(ingress)]
pub(crate) fn cotter_receive(context: SkBuffContext) -> i32 {
    if context.interface() == LOOPBACK {
        return GO_ON;
    }
    let Some(tag) = context.tag() else { return GO_ON };
    if !tag.is_open() {
        return GO_ON;
    }
    let tag = if tag.session() == SessionId::NONE {
        let Some(session) = socket::cgroups_of_receiver(&context, |cgroup| Maps.session_of_cgroup(cgroup))
        else {
            return GO_ON;
        };
        Tag::of(session).opened()
    } else {
        tag
    };
    let receiver = Receiver { tag, cookie: context.cookie(), peer: socket::peer_of_receiver(&context) };
    receive(&context, &receiver)
}

#[inline(always)]
fn receive(context: &SkBuffContext, receiver: &Receiver) -> i32 {
    let frame = ContextFrame::new(context);
    let packet = Packet::parse(&frame, Layer::Ip);
    let verdict = verdict_at_socket(&packet, receiver, &Maps);
    Maps.count(&verdict);
    let dropped = verdict.reason.action() == Action::Drop;
    if dropped || verdict.overruled.is_some() {
        Maps.report(context, &packet, &verdict);
    }
    if !dropped {
        return GO_ON;
    }
    // Where others may answer, each packet is for the socket to judge.
    if receiver.peer.is_none()
        && !receiver.tag.has_any_port()
        && let Content::Segment(segment) = packet.content()
    {
        let (protocol, port) = (segment.protocol, segment.destination);
        let violation = Violation::new(packet.source(), packet.destination(), protocol, port);
        Maps.learn(receiver.cookie, &violation, port, PortClass::violated(protocol));
    }
    DROP
}
