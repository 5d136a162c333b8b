//! The sockets at which the node is knocked: systemd's, where `cotter-agent-knock.socket` has them, else the agent's own.

use crate::config::Knocks;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_recv_buffer_size, set_socket_reuseaddr, socket_type};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};

/// What the socket unit calls them (FileDescriptorName).
const NAME: &str = "knock";
/// Bytes of datagrams that wait to be read; what comes beyond is the kernel's to drop.
const WAITING: usize = 256 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// One socket for datagrams, and one for connections if that was asked for.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) udp: OwnedFd,
    pub(super) tcp: Option<OwnedFd>,
}

impl Sockets {
    /// Those that systemd passed; it has all that are asked for or none. Else ones of the agent's own.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub(super) fn open(knocks: &Knocks) -> io::Result<Self> {
        let passed = passed()?;
        if passed.is_empty() {
            let bound = |kind| own(knocks.port, kind).map_err(|error| not_bound(knocks.port, &error));
            let tcp = knocks.tcp.then(|| bound(SocketType::STREAM)).transpose()?;
            return Ok(Self { udp: bound(SocketType::DGRAM)?, tcp });
        }
        let (mut datagrams, mut streams) = (None, None);
        for socket in passed {
            require_port(&socket, knocks.port)?;
            let place =
                if socket_type(&socket)? == SocketType::STREAM { &mut streams } else { &mut datagrams };
            *place = Some(socket);
        }
        let missing = |what: &str| {
            let port = knocks.port;
            io::Error::other(format!(
                "cotter-agent-knock.socket lacks {what}={port}, which agent.toml asks for"
            ))
        };
        let udp = datagrams.ok_or_else(|| missing("ListenDatagram"))?;
        let tcp = knocks.tcp.then(|| streams.ok_or_else(|| missing("ListenStream"))).transpose()?;
        Ok(Self { udp, tcp })
    }
}

/// What systemd passed under this name (sd_listen_fds(3)).
fn passed() -> io::Result<Vec<OwnedFd>> {
    let passed = sd_notify::listen_fds_with_names()?;
    passed.filter(|(_, name)| name == NAME).map(|(number, _)| owned(number)).collect()
}

/// A descriptor of this process's own by its number, as one that is owned: a second one for the same socket.
fn owned(number: RawFd) -> io::Result<OwnedFd> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(&this, number, PidfdGetfdFlags::empty())?)
}

fn require_port(socket: &OwnedFd, port: u16) -> io::Result<()> {
    match SocketAddr::try_from(getsockname(socket)?)?.port() {
        bound if bound == port => Ok(()),
        bound => Err(io::Error::other(format!(
            "cotter-agent-knock.socket listens at port {bound}, and agent.toml says {port}: make them the same"
        ))),
    }
}

/// For both families, or for IPv4 where there is no IPv6.
fn own(port: u16, kind: SocketType) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, address): (_, SocketAddr) = match socket_with(AddressFamily::INET6, kind, flags, None) {
        Ok(socket) => {
            set_ipv6_v6only(&socket, false)?;
            (socket, (Ipv6Addr::UNSPECIFIED, port).into())
        }
        Err(rustix::io::Errno::AFNOSUPPORT) => {
            (socket_with(AddressFamily::INET, kind, flags, None)?, (Ipv4Addr::UNSPECIFIED, port).into())
        }
        Err(error) => return Err(error.into()),
    };
    if kind == SocketType::STREAM {
        set_socket_reuseaddr(&socket, true)?;
    } else {
        set_socket_recv_buffer_size(&socket, WAITING)?;
    }
    bind(&socket, &address)?;
    if kind == SocketType::STREAM {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

fn not_bound(port: u16, error: &io::Error) -> io::Error {
    let remedy = if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) {
        ": the agent's unit keeps it from the network; systemctl enable cotter-agent-knock.socket, and restart the agent"
    } else {
        ""
    };
    io::Error::new(error.kind(), format!("port {port}: {error}{remedy}"))
}
