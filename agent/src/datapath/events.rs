//! Reads what the kernel reports of single packets.

use std::path::Path;

use agent_ebpf::Event;
use aya::maps::{Map, MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Error;

/// The kernel's events, in the order in which they happened on each CPU.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Events {
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        let ring = MapData::from_pin(directory.join("EVENTS"))
            .and_then(Map::from_map_data)
            .and_then(RingBuf::try_from)
            .map_err(Error::map("EVENTS"))?;
        #[expect(
            deprecated,
            reason = "the new form asks for a promise that this type keeps: one descriptor for life"
        )]
        let ring = AsyncFd::with_interest(ring, Interest::READABLE).map_err(Error::Events)?;
        Ok(Self { ring })
    }

    /// Waits for the next event. Safe to cancel.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            // Look first: the kernel wakes nobody for events that came while one still lay unread.
            while let Some(record) = self.ring.get_mut().next() {
                if let Some(event) = Event::from_bytes(&record) {
                    return Ok(event);
                }
            }
            let mut ready = self.ring.readable_mut().await.map_err(Error::Events)?;
            ready.clear_ready();
        }
    }
}
