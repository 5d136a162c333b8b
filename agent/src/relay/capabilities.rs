//! What a connection's process may do: nothing, once both of its sockets are there.

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::io;

/// Gives up all capabilities.
pub(super) fn give_up() -> io::Result<()> {
    let none = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}
