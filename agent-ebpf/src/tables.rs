//! The questions that the verdict asks.

use crate::{Address, Asked, Flow, FlowKey, Nanoseconds, Node, Penalty, Port, PortClass, Session, SessionId};

/// What the verdict must know of the node; maps in the kernel, plain collections in tests.
pub trait Tables {
    /// What is the time?
    fn now(&self) -> Nanoseconds;
    /// What is the node's mode?
    fn node(&self) -> Option<&Node>;
    /// What is this port to us?
    fn port_class(&self, port: Port) -> PortClass;
    /// Is this connection known?
    fn flow(&self, key: &FlowKey) -> Option<&Flow>;
    /// What is known of this session?
    fn session(&self, id: SessionId) -> Option<&Session>;
    /// Whose endpoint, which still is what it was, was sent this before and may not receive it?
    fn violated(&self, key: &FlowKey) -> Option<SessionId>;
    /// Has this socket sent there of its own accord?
    fn has_asked(&self, asked: &Asked) -> bool;
    /// Is this one of the node's own addresses?
    fn is_local(&self, address: Address) -> bool;
    /// Is this source under penalty? Asked with an [`Address::neighbourhood`].
    fn penalty(&self, neighbourhood: Address) -> Option<&Penalty>;
    /// Is this source never dropped?
    fn is_never_dropped(&self, address: Address) -> bool;
}
