//! Reads which connections sessions open to nodes.

use std::path::Path;

use agent_ebpf::Departure;

use super::Error;
use super::ring::Ring;

/// What the kernel tells of such connections, each once, before its first packet leaves.
pub struct Departures {
    ring: Ring,
}

impl Departures {
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        Ok(Self { ring: Ring::open(directory, "DEPARTURES")? })
    }

    /// Waits for the next one. Safe to cancel.
    pub async fn next(&mut self) -> Result<Departure, Error> {
        self.ring.next(Departure::from_bytes).await
    }
}
