//! What the kernel program at a session's sockets would say of a packet: the same verdict, over what the maps hold now.
//!
//! The kernel runs that program for packets that have come to a socket, and has no way to try one.

use std::net::{IpAddr, SocketAddr};

use agent_ebpf::{
    Address, Asked, Content, Endpoint, Flow, FlowKey, Frame, GatedPort, Gates, Grant, Nanoseconds, Node,
    Packet, Penalty, Port, PortClass, Protocol, Receiver, Session, SessionId, SocketCookie,
    Tables as Questions, Tag, Verdict, verdict_at_socket,
};

use super::{Error, Tables, now};

/// What the verdict asks for, for one packet.
struct Answers {
    now: Nanoseconds,
    node: Node,
    session: Option<Session>,
    asked: bool,
    never_dropped: bool,
}

/// The verdict at the endpoint that the packet would come to, if it would come to one. A socket that is connected is taken
/// for one that is not: nobody but its peer reaches it.
pub(super) fn at_socket<F: Frame + ?Sized>(
    packet: &Packet<'_, F>,
    tables: &Tables,
) -> Result<Option<Verdict>, Error> {
    let Content::Segment(segment) = packet.content() else { return Ok(None) };
    if !tables.is_local(packet.destination())? {
        return Ok(None);
    }
    let to = SocketAddr::new(packet.destination().ip(), segment.destination.number());
    let Some((cookie, endpoint)) = endpoint(tables, segment.protocol, to)? else { return Ok(None) };
    let source = packet.source();
    let answers = Answers {
        now: now(),
        node: tables.node()?,
        session: tables.session(endpoint.session())?,
        asked: tables.has_asked(&Asked::new(cookie, source, segment.source))?,
        never_dropped: tables.is_never_dropped(source)?,
    };
    let tag = Tag::of(endpoint.session(), segment.protocol).with_any_port(endpoint.has_any_port()).opened();
    Ok(Some(verdict_at_socket(packet, &Receiver { tag, cookie, peer: None }, &answers)))
}

/// The endpoint that is reached there: one bound to that very address before one bound to all.
fn endpoint(
    tables: &Tables,
    protocol: Protocol,
    to: SocketAddr,
) -> Result<Option<(SocketCookie, Endpoint)>, Error> {
    let reached = tables.endpoints()?.into_iter().filter(|(_, endpoint)| {
        let local = endpoint.local();
        endpoint.protocol() == Some(protocol)
            && local.port() == to.port()
            && (local.ip() == to.ip() || covers(local.ip(), to.ip()))
    });
    Ok(reached.min_by_key(|(_, endpoint)| endpoint.local().ip().is_unspecified()))
}

/// Whether an unspecified address stands for another: that of IPv6 also for those of IPv4.
fn covers(local: IpAddr, to: IpAddr) -> bool {
    local.is_unspecified() && (local.is_ipv6() || to.is_ipv4())
}

impl Questions for Answers {
    fn now(&self) -> Nanoseconds {
        self.now
    }

    fn node(&self) -> Option<&Node> {
        Some(&self.node)
    }

    fn session(&self, _: SessionId) -> Option<&Session> {
        self.session.as_ref()
    }

    fn has_asked(&self, _: &Asked) -> bool {
        self.asked
    }

    fn is_never_dropped(&self, _: Address) -> bool {
        self.never_dropped
    }

    // The rest is asked at devices alone.
    fn port_class(&self, _: Port) -> PortClass {
        PortClass::NONE
    }

    fn flow(&self, _: &FlowKey) -> Option<&Flow> {
        None
    }

    fn observed(&self, _: SocketCookie) -> Option<Address> {
        None
    }

    fn violated(&self, _: &FlowKey) -> Option<SessionId> {
        None
    }

    fn may_have_grant(&self, _: Address) -> bool {
        false
    }

    fn grant(&self, _: Address) -> Option<&Grant> {
        None
    }

    fn gates(&self, _: GatedPort) -> Gates {
        Gates::NONE
    }

    fn is_connected(&self, _: SocketCookie) -> bool {
        false
    }

    fn last_use(&self, _: SessionId) -> Option<Nanoseconds> {
        None
    }

    fn is_local(&self, _: Address) -> bool {
        true
    }

    fn may_knock(&self, _: Address) -> bool {
        true
    }

    fn penalty(&self, _: Address) -> Option<&Penalty> {
        None
    }
}
