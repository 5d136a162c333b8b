//! The line to one address of a node, by which knocks go there. None ever comes back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

/// A socket that is connected there.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) to: IpAddr,
    socket: UdpSocket,
}

/// What comes of a datagram, as far as anybody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way.
    Away,
    /// So is this one; of one before it, that address has said that nothing there hears knocks.
    Unheard,
}

impl Line {
    pub(super) async fn to(address: SocketAddr) -> io::Result<Self> {
        let anywhere: IpAddr =
            if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((anywhere, 0)).await?;
        socket.connect(address).await?;
        Ok(Self { to: address.ip(), socket })
    }

    pub(super) async fn send(&self, datagram: &[u8]) -> io::Result<Sent> {
        match self.socket.send(datagram).await {
            // That is about the last one, and is told once.
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                self.socket.send(datagram).await.map(|_| Sent::Unheard)
            }
            sent => sent.map(|_| Sent::Away),
        }
    }
}

/// Brings a knock over TCP, behind its length.
pub(super) async fn bring(framed: Vec<u8>, to: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(&framed).await?;
    stream.shutdown().await
}
