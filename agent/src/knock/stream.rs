//! Knocks over TCP, for certificates that are too large for a datagram. Whoever connects is heard out and told nothing.

use crate::budget::Budget;
use crate::source::source;
use cotter_knock::{FRAME_HEADER, frame_len};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections at once, and of one source.
const AT_ONCE: usize = 64;
const OF_ONE: usize = 4;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// A source may connect eight times a second, and as often at once: as the kernel has it for datagrams.
const RATE: u32 = 8;
/// Sources whose rate is remembered; of more none is heard that is not.
const SOURCES: usize = 4096;

/// Those who are connected.
#[derive(Debug)]
pub(super) struct Callers {
    listener: TcpListener,
    reading: JoinSet<Heard>,
    /// The source of each.
    sources: Vec<IpAddr>,
    /// What each source may spend on connecting, a second of it eight times.
    rates: HashMap<IpAddr, Budget>,
}

/// What somebody said; none if it is no knock's length or did not come in time.
#[derive(Debug)]
struct Heard {
    from: IpAddr,
    knock: Option<Vec<u8>>,
}

impl Callers {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, reading: JoinSet::new(), sources: Vec::new(), rates: HashMap::new() }
    }

    /// Waits until somebody comes or goes: a knock, if one left it. May be given up and called anew.
    pub(super) async fn next(&mut self) -> Option<(IpAddr, Vec<u8>)> {
        tokio::select! {
            accepted = self.listener.accept(), if self.reading.len() < AT_ONCE => {
                match accepted {
                    Ok((stream, peer)) => self.take_in(stream, peer.ip().to_canonical()),
                    Err(error) => {
                        tracing::warn!("a connection that is to knock was not accepted: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
                None
            }
            Some(Ok(heard)) = self.reading.join_next() => {
                if let Some(place) = self.sources.iter().position(|one| *one == source(heard.from)) {
                    self.sources.swap_remove(place);
                }
                heard.knock.map(|knock| (heard.from, knock))
            }
        }
    }

    /// Whether a source has not connected too often of late; asking counts as connecting.
    fn may_connect(&mut self, source: IpAddr) -> bool {
        let now = Instant::now();
        if self.rates.len() >= SOURCES {
            self.rates.retain(|_, rate| !rate.is_full(now));
        }
        if self.rates.len() >= SOURCES && !self.rates.contains_key(&source) {
            return false;
        }
        let full = || Budget::one_in(1, Duration::from_secs(1), now);
        let rate = self.rates.entry(source).or_insert_with(full);
        let may = rate.is_left(now);
        if may {
            rate.spend(Duration::from_secs(1) / RATE, now);
        }
        may
    }

    fn take_in(&mut self, stream: TcpStream, from: IpAddr) {
        let source = source(from);
        if self.sources.iter().filter(|one| **one == source).count() >= OF_ONE || !self.may_connect(source) {
            return;
        }
        self.sources.push(source);
        self.reading.spawn(async move {
            let read = timeout(PATIENCE, read(stream)).await;
            Heard { from, knock: read.ok().and_then(Result::ok) }
        });
    }
}

async fn read(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut header = [0; FRAME_HEADER];
    stream.read_exact(&mut header).await?;
    let mut knock = vec![0; frame_len(header).map_err(io::Error::other)?];
    stream.read_exact(&mut knock).await?;
    Ok(knock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_source_connects_so_often_and_no_more_and_others_all_the_same() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut callers = Callers::new(listener);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let taken = (0..100).filter(|_| callers.may_connect(one)).count();
        assert!((8..=10).contains(&taken), "{taken}");
        assert!(callers.may_connect(other));
    }
}
