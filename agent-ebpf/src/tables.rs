//! The questions that the verdict asks.

use crate::{
    Address, Asked, Flow, FlowKey, GatedPort, Gates, Grant, Home, Nanoseconds, Node, Penalty, Port,
    PortClass, Session, SessionId, SocketCookie, Standing, is_granted,
};

/// What the verdict must know of the node; maps in the kernel, plain collections in tests.
pub trait Tables {
    /// What is the time?
    fn now(&self) -> Nanoseconds;
    /// What is known at once of what is asked for the most? The answers in full are asked for where it does not know.
    fn home(&self) -> Option<&Home> {
        None
    }
    /// What is the node's mode?
    fn node(&self) -> Option<&Node>;
    /// What is this port to us?
    fn port_class(&self, port: Port) -> PortClass;
    /// Is this connection known?
    fn flow(&self, key: &FlowKey) -> Option<&Flow>;
    /// Where is the user of this socket, by the word of the balancer that has connected it?
    fn observed(&self, socket: SocketCookie) -> Option<Address>;
    /// What is known of this session?
    fn session(&self, id: SessionId) -> Option<&Session>;
    /// How does this source stand to this session? Answered by [`Standing::of`]; the kernel's verifier is to walk that only
    /// once, like all that is answered here.
    fn standing(&self, id: SessionId, source: Address) -> Standing
    where
        Self: Sized,
    {
        Standing::of(id, source, self)
    }
    /// Whose endpoint, which still is what it was, was sent this before and may not receive it?
    fn violated(&self, key: &FlowKey) -> Option<SessionId>;
    /// Has this socket sent there of its own accord?
    fn has_asked(&self, asked: &Asked) -> bool;
    /// May this source have a grant? No is certain.
    fn may_have_grant(&self, source: Address) -> bool;
    /// What has been granted to this source?
    fn grant(&self, source: Address) -> Option<&Grant>;
    /// May this source reach this gated port? Answered by [`is_granted`].
    fn is_granted(&self, source: Address, port: GatedPort, is_login: bool) -> bool
    where
        Self: Sized,
    {
        is_granted(source, port, is_login, self)
    }
    /// Which gates stand before this port?
    fn gates(&self, port: GatedPort) -> Gates;
    /// Is the connection of this socket, which began a session, still open?
    fn is_connected(&self, connection: SocketCookie) -> bool;
    /// When did an endpoint of this session last get a packet from its pin?
    fn last_use(&self, session: SessionId) -> Option<Nanoseconds>;
    /// Is this one of the node's own addresses?
    fn is_local(&self, address: Address) -> bool;
    /// Is this source under penalty? Asked with an [`Address::neighbourhood`].
    fn penalty(&self, neighbourhood: Address) -> Option<&Penalty>;
    /// May this source knock once more? Asking counts as knocking. Asked with an [`Address::neighbourhood`].
    fn may_knock(&self, neighbourhood: Address) -> bool;
    /// Is this source never dropped?
    fn is_never_dropped(&self, address: Address) -> bool;
}
