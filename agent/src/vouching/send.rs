//! Brings a statement to the node that it is for.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use cotter_vouch::{Answer, Signed, SignedError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Pause before it is said once more, where the session's connection has not come to the node yet; twice as long each time, since
/// who opens one may also never let it come there.
const SHORTEST: Duration = Duration::from_millis(50);
/// How long the node may take, in all.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest answer, in bytes.
const LONGEST_ANSWER: u64 = 1024;

/// Why a statement does not count at its node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// It cannot be written.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// The node was not reached, or does not answer as one that trusts relays.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The node does not take it.
    #[error("refused: {0}")]
    Refused(String),
}

/// Sends it from the address that the connection comes from, of which it speaks.
pub(crate) async fn send(from: SocketAddr, to: SocketAddr, signed: &Signed) -> Result<(), SendError> {
    let line = signed.line()?;
    let late = |_elapsed| {
        io::Error::new(io::ErrorKind::TimedOut, "no answer, or none but that the connection is not there")
    };
    timeout(PATIENCE, until_it_counts(from, to, &line)).await.map_err(late)?
}

async fn until_it_counts(from: SocketAddr, to: SocketAddr, line: &str) -> Result<(), SendError> {
    let mut pause = SHORTEST;
    loop {
        match exchange(from, to, line).await? {
            Answer::Taken => return Ok(()),
            Answer::NotYet => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Answer::Refused(why) => return Err(SendError::Refused(why)),
        }
    }
}

async fn exchange(from: SocketAddr, to: SocketAddr, line: &str) -> io::Result<Answer> {
    let mut stream = connect(from, to).await?;
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new((&mut stream).take(LONGEST_ANSWER)).read_line(&mut answer).await?;
    Ok(serde_json::from_str(&answer)?)
}

async fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from.ip(), 0))?;
    socket.connect(to).await
}
