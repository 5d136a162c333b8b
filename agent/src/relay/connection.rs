//! The process of one relayed connection.

use super::announcement::Announced;
use super::call::{Announcement, Answer, Leg, Via};
use super::capabilities;
use super::header::{self, NoHeader};
use super::passage::Passage;
use super::splice::{self, Patience};
use super::steered;
use pinning::{Address, How, ProxiedClient};
use rustix::net::sockopt;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

/// When a balancer that says nothing is asked whether it is there, and how often until it counts as gone.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// A slow user's last output may take some time; who has been sent away may not keep a place.
const PATIENCE: Patience = Patience { with_rest: Duration::from_secs(30), after_all: Duration::from_secs(2) };

/// What the process is started with, beside the connection.
#[derive(Debug, Clone)]
pub struct Order {
    /// The port of the node's own sshd.
    pub login_port: u16,
    /// Whether it is one of a trusted relay's, which the kernel has led here; a balancer's otherwise.
    pub is_steered: bool,
    /// Where the agent's sockets are.
    pub runtime_dir: PathBuf,
}

/// Why a connection was not handed on, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It does not begin with a header.
    #[error("closed: {0}")]
    NoHeader(#[source] io::Error),
    /// The balancer does not say whose it is.
    #[error("closed (observed_address_unknown): its header names no client")]
    Unknown,
    /// It says what cannot be.
    #[error("closed (observed_address_unknown): its header names {0}, where no client is")]
    Nobody(IpAddr),
    /// No relay that is trusted says whose it is.
    #[error("closed (observed_address_unknown): {0}")]
    Unvouched(String),
    /// The agent does not want it.
    #[error("closed: {0}")]
    Refused(String),
    /// sshd cannot be reached with the user's address as source.
    #[error("cannot reach sshd at {sshd} as {user}: {source}; `cotter-agent doctor` looks for the reason")]
    Passage {
        /// Whom it would be from.
        user: SocketAddr,
        /// Where sshd should be.
        sshd: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<NoHeader> for ConnectionError {
    fn from(why: NoHeader) -> Self {
        Self::NoHeader(io::Error::other(why))
    }
}

/// Hands a connection on to sshd, and carries it until it ends.
///
/// # Errors
/// See [`ConnectionError`]. A balancer that only looks whether somebody is here is none.
pub fn serve(outer: TcpStream, order: &Order) -> Result<(), ConnectionError> {
    if order.is_steered { steered::serve(outer, order) } else { balanced(outer, order) }
}

/// One of a balancer's.
fn balanced(outer: TcpStream, order: &Order) -> Result<(), ConnectionError> {
    let header = header::take(&outer)?;
    let user = match header.client {
        ProxiedClient::At(address, _) if !may_be_client(address.ip()) => {
            return Err(ConnectionError::Nobody(address.ip()));
        }
        ProxiedClient::At(address, port) => SocketAddr::new(address.ip(), port),
        ProxiedClient::Unknown => return Err(ConnectionError::Unknown),
        ProxiedClient::Itself => return Ok(()),
    };
    let via = Address::from(leg(&outer)?.peer);
    let how = if header.version == 1 { How::ProxyV1 { via } } else { How::ProxyV2 { via } };
    go_on(outer, Way { user, how, via: None }, order)
}

/// Whose a connection is, and how that is known.
pub(super) struct Way {
    /// Where they are; port 0 if that is not known.
    pub(super) user: SocketAddr,
    /// Who says so.
    pub(super) how: How,
    /// The bastions that they came through.
    pub(super) via: Option<Via>,
}

/// Leads it on to sshd.
pub(super) fn go_on(outer: TcpStream, way: Way, order: &Order) -> Result<(), ConnectionError> {
    let passage = Passage::from(way.user, order.login_port)?;
    let (user, sshd) = (passage.user, passage.sshd);
    let announcement = Announcement { outer: leg(&outer)?, user, sshd, how: way.how, via: way.via };
    let (announced, answer) = Announced::tell(announcement, &order.runtime_dir);
    if let Some(Answer::Stay(why)) = answer {
        return Err(ConnectionError::Refused(why));
    }
    let inner = passage.open().map_err(|source| ConnectionError::Passage { user, sshd, source })?;
    capabilities::give_up()?;
    outer.set_nonblocking(true)?;
    inner.set_nonblocking(true)?;
    // What is typed goes out at once, on both legs, as sshd and ssh would have it.
    outer.set_nodelay(true)?;
    inner.set_tcp_nodelay(true)?;
    // Who is gone without a word is noticed here, since sshd asks nobody but the relay whether it is there.
    SockRef::from(&outer).set_tcp_keepalive(&KEEPALIVE)?;
    announced.tell_others()?;
    match splice::carry(&outer, &inner, &PATIENCE) {
        // Somebody has hung up, or the session was cut: that is an end like any other.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether somebody may connect to a balancer from there. From this node's own loopback it is at most the balancer, and what
/// sshd gets from there counts as nobody's who was relayed.
fn may_be_client(address: IpAddr) -> bool {
    !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

/// Both ends of an accepted connection, and its socket.
pub(super) fn leg(outer: &TcpStream) -> io::Result<Leg> {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (local, peer) = (canonical(outer.local_addr()?), canonical(outer.peer_addr()?));
    Ok(Leg { local, peer, cookie: sockopt::socket_cookie(outer)? })
}
