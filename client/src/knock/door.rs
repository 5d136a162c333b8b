//! The door of a node: the port of its sshd, which says who it is as soon as somebody gets that far.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// So much earlier is a knock: a connection that comes before it is dropped, and tries again a second later only.
const HEAD_START: Duration = Duration::from_millis(50);
/// What sshd says first (RFC 4253, section 4.2).
const BANNER: [u8; 4] = *b"SSH-";

/// Waits until the door is open, however long that takes.
///
/// # Errors
/// That nobody is behind it, or somebody else than sshd.
pub(super) async fn opens(at: SocketAddr) -> io::Result<SocketAddr> {
    sleep(HEAD_START).await;
    let mut first = [0; BANNER.len()];
    TcpStream::connect(at).await?.read_exact(&mut first).await?;
    if first == BANNER { Ok(at) } else { Err(io::ErrorKind::InvalidData.into()) }
}
