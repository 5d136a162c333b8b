//! The header that a balancer's connection begins with, and no byte beyond it.

use pinning::{ProxyHeader, ProxyHeaderError};
use rustix::net::{RecvFlags, recv};
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longest wait for a header; it comes in the first packet of all balancers.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before a header that has come in part is looked at again.
const PAUSE: Duration = Duration::from_millis(10);

/// Why a connection ends before it began.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    /// What comes is none.
    #[error(transparent)]
    Wrong(#[from] ProxyHeaderError),
    /// Nothing comes, or not all.
    #[error("no PROXY protocol header within {} s", PATIENCE.as_secs())]
    Slow,
    /// It is over already.
    #[error("ended before its PROXY protocol header")]
    Ended,
    /// The socket.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Takes the header off the connection.
pub(super) fn take(stream: &TcpStream) -> Result<ProxyHeader, NoHeader> {
    let end = Instant::now() + PATIENCE;
    let mut bytes = [0; ProxyHeader::LONGEST];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NoHeader::Slow);
        }
        stream.set_read_timeout(Some(left))?;
        let seen = match stream.peek(&mut bytes) {
            Ok(0) => return Err(NoHeader::Ended),
            Ok(seen) => seen,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(NoHeader::Slow),
            Err(error) => return Err(error.into()),
        };
        if let Some(header) = ProxyHeader::parse(&bytes[..seen])? {
            // All of it is there.
            let (_, taken) =
                recv(stream, &mut bytes[..header.length], RecvFlags::empty()).map_err(io::Error::from)?;
            return if taken == header.length { Ok(header) } else { Err(NoHeader::Ended) };
        }
        std::thread::sleep(PAUSE.min(left));
    }
}
