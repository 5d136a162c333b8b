//! Hears knocks, as datagrams and over TCP, and goes no faster than a part of a core allows.

use super::doorkeeper::Doorkeeper;
use super::sockets::Sockets;
use super::stream::Callers;
use crate::budget::Budget;
use crate::clock;
use cotter_knock::MAX_DATAGRAM;
use std::future::pending;
use std::io;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UdpSocket};

/// All that has to do with knocks takes a quarter of a core; beyond, datagrams wait, and the kernel drops what finds no room.
const PART: u32 = 4;
/// What of that can be spent at once.
const AT_ONCE: Duration = Duration::from_millis(250);
/// How long it waits then.
const REST: Duration = Duration::from_millis(10);

/// Hears knocks until a socket fails.
pub(super) async fn listen(sockets: Sockets, doorkeeper: &mut Doorkeeper) -> io::Result<()> {
    let udp: std::net::UdpSocket = sockets.udp.into();
    udp.set_nonblocking(true)?;
    let udp = UdpSocket::from_std(udp)?;
    let mut callers = sockets.tcp.map(callers).transpose()?;
    let mut pace = Budget::one_in(PART, AT_ONCE, Instant::now());
    // One that is longer is cut off here, and then no knock.
    let mut datagram = [0; MAX_DATAGRAM];
    loop {
        let begin = clock::processor();
        tokio::select! {
            received = udp.recv_from(&mut datagram) => {
                let (len, from) = received?;
                doorkeeper.hear(&datagram[..len], from.ip().to_canonical());
            }
            heard = next(&mut callers) => {
                if let Some((from, knock)) = heard {
                    doorkeeper.hear(&knock, from);
                }
            }
        }
        pace.spend(clock::processor().saturating_sub(begin), Instant::now());
        while !pace.is_left(Instant::now()) {
            tokio::time::sleep(REST).await;
        }
    }
}

fn callers(listener: std::os::fd::OwnedFd) -> io::Result<Callers> {
    let listener: std::net::TcpListener = listener.into();
    listener.set_nonblocking(true)?;
    Ok(Callers::new(TcpListener::from_std(listener)?))
}

async fn next(callers: &mut Option<Callers>) -> Option<(std::net::IpAddr, Vec<u8>)> {
    match callers {
        Some(callers) => callers.next().await,
        None => pending().await,
    }
}
