//! The programs that hang on the sessions' cgroups: which sockets are endpoints, and what may come in there.
#![cfg_attr(
    target_arch = "bpf",
    allow(unsafe_code, reason = "hooks are exported symbols; socket and map access have their own files")
)]

use agent_ebpf::{
    Action, Asked, Content, FlowKey, Frame, Layer, Packet, PortClass, Protocol, Reason, Receiver, SessionId,
    Tables, Tag, verdict_at_socket,
};
use aya_ebpf::macros::{cgroup_skb, cgroup_sock, cgroup_sock_addr, sock_ops};
use aya_ebpf::programs::{SkBuffContext, SockAddrContext, SockContext, SockOpsContext, TcContext};

use crate::frame::{Context, ContextFrame};
use crate::maps::Maps;
use crate::socket::{self, Family, Socket};

/// What a program of a cgroup answers if the kernel may go on.
const GO_ON: i32 = 1;
/// What a program of a cgroup answers to drop a packet.
const DROP: i32 = 0;
/// What it answers to have a system call fail (`EPERM`).
const REFUSE: i32 = 0;

/// The first device of every network namespace (`LOOPBACK_IFINDEX` of `include/net/net_namespace.h`).
const LOOPBACK: u32 = 1;
/// `BPF_SOCK_OPS_TCP_LISTEN_CB` of `linux/bpf.h`.
const LISTEN: u32 = 11;

/// A socket is made: it remembers for whom, or is not made.
#[cgroup_sock(sock_create)]
pub(crate) fn cotter_create(context: SockContext) -> i32 {
    match tag(&context) {
        Ok(_) => GO_ON,
        Err(Forgetful) => REFUSE,
    }
}

/// A socket of a session's cannot remember for whom it is; the kernel has no memory for it.
struct Forgetful;

/// What a socket of the node's network remembers; if nothing, from now on the session whose process this is.
#[inline(always)]
fn tag(context: &SockContext) -> Result<Option<Tag>, Forgetful> {
    let known = context.tag();
    if known.is_some() || !Maps.is_network(socket::network(context)) {
        return Ok(known);
    }
    let session = socket::current_cgroups(|cgroup| Maps.session_of_cgroup(cgroup));
    let (Some(session), Some(protocol)) = (session, socket::protocol(context)) else { return Ok(None) };
    let tag = Tag::of(session, protocol);
    if context.insert_tag(tag) { Ok(Some(tag)) } else { Err(Forgetful) }
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

/// The kernel may still refuse: nothing but a binding that came about makes an endpoint, and of that this is not changed.
#[inline(always)]
fn bind(context: &SockAddrContext) -> i32 {
    let any = socket::asks_for_any_port(context);
    context.change_tag(|tag| if tag.is_open() { tag } else { tag.with_any_port(any) });
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
/// as those which carry one of MPTCP, are first seen here, and not seen when they are closed.
#[inline(always)]
fn bound(context: &SockContext, family: Family) -> i32 {
    let was_known = context.tag().is_some();
    let tag = match tag(context) {
        Ok(Some(tag)) => tag,
        Ok(None) => return GO_ON,
        Err(Forgetful) => return REFUSE,
    };
    if tag.protocol() == Protocol::Udp {
        context.change_tag(Tag::opened);
        if was_known {
            Maps.list_endpoint(context.cookie(), &tag, socket::bound_to(context, family));
        }
    }
    GO_ON
}

/// A TCP socket listens.
#[sock_ops]
pub(crate) fn cotter_listen(context: SockOpsContext) -> u32 {
    if context.op() != LISTEN {
        return 1;
    }
    let (address, port) = socket::listens_at(&context);
    // An sshd that was started anew by hand is everybody's: whose shell it was must not decide who gets in.
    if Maps.port_class(port).is_any(PortClass::TCP_LOGIN) {
        context.remove_tag();
        return 1;
    }
    // One of the kernel's own that was never bound: whose it is, its first packet tells.
    if context.tag().is_none() && Maps.is_network(socket::network(&context)) {
        context.insert_tag(Tag::of(SessionId::NONE, Protocol::Tcp));
    }
    let Some(tag) = context.tag() else { return 1 };
    context.change_tag(Tag::opened);
    Maps.list_endpoint(context.cookie(), &tag, (address, port));
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

/// Whom a socket of any port sends to may answer. One that was never bound gets its port from the kernel now, and is reached
/// there from then on.
///
/// A server sends to its former clients too, so where a port was asked for nobody is let in by this: if a session's pin
/// moves, its former place must not stay open for the sake of what is still sent there.
#[inline(always)]
fn send(context: &SockAddrContext, family: Family) -> i32 {
    let Some(tag) = context.tag() else { return GO_ON };
    if !tag.is_open() {
        context.change_tag(|tag| tag.with_any_port(true).opened());
    } else if !tag.has_any_port() {
        return GO_ON;
    }
    let (cookie, (address, port)) = (context.cookie(), socket::target(context, family));
    if !address.is_loopback() {
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
    if buffer(&context).interface() == LOOPBACK {
        return GO_ON;
    }
    let Some(tag) = context.tag() else { return GO_ON };
    let tag = if tag.session() == SessionId::NONE {
        let found = socket::cgroups_of_receiver(&context, |cgroup| Maps.session_of_cgroup(cgroup));
        let Some(session) = found else { return GO_ON };
        context.change_tag(|tag| tag.with_session(session));
        tag.with_session(session)
    } else {
        tag
    };
    receive(&context, tag)
}

/// The packet's buffer, which the kernel hands to TC as well.
#[inline(always)]
fn buffer(context: &SkBuffContext) -> TcContext {
    TcContext::new(context.skb.skb)
}

#[inline(always)]
fn receive(context: &SkBuffContext, tag: Tag) -> i32 {
    let cookie = context.cookie();
    let receiver = Receiver { tag, cookie, peer: socket::peer_of_receiver(context) };
    let buffer = buffer(context);
    let frame = ContextFrame::new(&buffer);
    let packet = Packet::parse(&frame, Layer::Ip);
    let verdict = verdict_at_socket(&packet, &receiver, &Maps);
    // What is nobody's business was counted at the device.
    if verdict.reason != Reason::NotProtected {
        Maps.count(&verdict);
    }
    if verdict.reason == Reason::Pinned && tag.is_open() {
        Maps.remember_use(tag.session());
    }
    let dropped = verdict.reason.action() == Action::Drop;
    if dropped || verdict.overruled.is_some() {
        Maps.report(&buffer, Layer::Ip, verdict);
    }
    if dropped {
        learn(context, &receiver, &packet);
    }
    if dropped { DROP } else { GO_ON }
}

/// Has devices drop what comes after it. Where others may answer, each packet is for the socket to judge; and what goes to
/// more than one of the node's sockets, each judges for itself.
#[inline(always)]
fn learn<F: Frame>(context: &SkBuffContext, receiver: &Receiver, packet: &Packet<'_, F>) {
    let Content::Segment(segment) = packet.content() else { return };
    if !receiver.tag.is_open() || receiver.tag.has_any_port() || !Maps.is_local(packet.destination()) {
        return;
    }
    // If it is connected after this look, its generation is another one by then.
    let Some(generation) = Maps.generation(receiver.cookie) else { return };
    if socket::peer_of_receiver(context).is_some() {
        return;
    }
    let (from, to) = ((packet.source(), segment.source), (packet.destination(), segment.destination));
    let violation = FlowKey::new(segment.protocol, from, to);
    let class = PortClass::violated(segment.protocol);
    Maps.learn(&violation, (receiver.cookie, generation), segment.destination, class);
}
