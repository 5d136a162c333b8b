//! Reads what the kernel reports of single packets.

use std::path::Path;

use agent_ebpf::Event;

use super::Error;
use super::ring::Ring;

/// The kernel's events, in the order in which they happened on each CPU.
pub struct Events {
    ring: Ring,
}

impl Events {
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        Ok(Self { ring: Ring::open(directory, "EVENTS")? })
    }

    /// Waits for the next event. Safe to cancel.
    pub async fn next(&mut self) -> Result<Event, Error> {
        self.ring.next(Event::from_bytes).await
    }
}
