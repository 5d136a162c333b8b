//! A connection before its first request: a balancer's header if one is due, and TLS.

use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::time::Duration;

use pinning::{Address, ProxyHeader, ProxyHeaderError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Join, join};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::ProxyProtocol;
use crate::observe::{Hops, Sender};

/// Longest wait for a header; it comes in the first packet of all balancers.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a connection ends before it began.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It sends no header, though one is due.
    #[error(transparent)]
    NoHeader(#[from] ProxyHeaderError),
    /// It is from somebody whose header would not be believed.
    #[error("not a trusted proxy, where connections begin with their headers")]
    NotTrusted,
    /// Nothing comes.
    #[error("no header within {} s", PATIENCE.as_secs())]
    Slow,
    /// It ends.
    #[error(transparent)]
    Ended(#[from] io::Error),
}

/// The same connection, with what was read of it beyond the header put back.
type Rest =
    Join<tokio::io::Chain<Cursor<Vec<u8>>, tokio::net::tcp::OwnedReadHalf>, tokio::net::tcp::OwnedWriteHalf>;

/// Reads the header that is due, if one is; who the connection is from, and the connection.
///
/// # Errors
/// See [`ConnectionError`]. It takes 5 s and 4096 bytes at most.
pub async fn receive(
    stream: TcpStream,
    peer: SocketAddr,
    hops: &Hops,
    proxy_protocol: ProxyProtocol,
) -> Result<(Sender, impl AsyncRead + AsyncWrite + Unpin + use<>), ConnectionError> {
    match proxy_protocol {
        ProxyProtocol::Off => Ok((Sender::direct(peer), with_rest(stream, Vec::new()))),
        ProxyProtocol::On if !hops.trusts(Address::from(peer)) => Err(ConnectionError::NotTrusted),
        ProxyProtocol::On => {
            let read = timeout(PATIENCE, header(stream)).await.map_err(|_elapsed| ConnectionError::Slow)?;
            let (header, rest) = read?;
            Ok((Sender::proxied(&header, peer), rest))
        }
    }
}

async fn header(mut stream: TcpStream) -> Result<(ProxyHeader, Rest), ConnectionError> {
    let mut bytes = Vec::with_capacity(256);
    loop {
        if let Some(header) = ProxyHeader::parse(&bytes)? {
            let rest = bytes.split_off(header.length);
            return Ok((header, with_rest(stream, rest)));
        }
        // The parser never asks for more than its longest header.
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

fn with_rest(stream: TcpStream, rest: Vec<u8>) -> Rest {
    let (read, write) = stream.into_split();
    join(Cursor::new(rest).chain(read), write)
}
