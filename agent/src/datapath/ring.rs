//! A ring buffer in which the kernel leaves records.

use std::path::Path;

use aya::maps::{Map, MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Error;

/// Its records, in the order in which they were left on each CPU.
pub(super) struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Ring {
    pub(super) fn open(directory: &Path, name: &'static str) -> Result<Self, Error> {
        let ring = MapData::from_pin(directory.join(name))
            .and_then(Map::from_map_data)
            .and_then(RingBuf::try_from)
            .map_err(Error::map(name))?;
        #[expect(
            deprecated,
            reason = "the new form asks for a promise that this type keeps: one descriptor for life"
        )]
        let ring = AsyncFd::with_interest(ring, Interest::READABLE).map_err(Error::Events)?;
        Ok(Self { ring })
    }

    /// Waits for the next record that can be read. Safe to cancel.
    pub(super) async fn next<T>(&mut self, read: fn(&[u8]) -> Option<T>) -> Result<T, Error> {
        loop {
            // Look first: the kernel wakes nobody for records that came while one still lay unread.
            while let Some(record) = self.ring.get_mut().next() {
                if let Some(record) = read(&record) {
                    return Ok(record);
                }
            }
            let mut ready = self.ring.readable_mut().await.map_err(Error::Events)?;
            ready.clear_ready();
        }
    }
}
