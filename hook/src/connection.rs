//! The TCP connection that an sshd monitor serves, found from the kernel, and its end.

mod destroy;

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{self, AddressFamily, Shutdown, ipproto};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

pub use destroy::{DestroyError, destroy_flow};

use crate::process::{Pid, ProcessError, proc_path, shares_network};

/// Why no connection could be told.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Something in `/proc` could not be read.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The process ended, or its pid means another one by now.
    #[error("process {pid} is gone")]
    ProcessGone {
        /// The process.
        pid: Pid,
    },
    /// The process may not be looked into, or the kernel lacks pidfds (before 5.6).
    #[error("cannot look into process {pid}: {source}")]
    Inaccessible {
        /// The process.
        pid: Pid,
        /// What the kernel said.
        source: io::Error,
    },
    /// The process lives in another network namespace, where addresses mean something else.
    #[error("process {pid} is in another network namespace")]
    OtherNetwork {
        /// The process.
        pid: Pid,
    },
    /// Not exactly one connection.
    #[error("process {pid} serves {found} connections, expected one")]
    NotOne {
        /// The process.
        pid: Pid,
        /// How many it serves.
        found: usize,
    },
}

/// How a connection was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The kernel destroyed the socket: both ends notice at once, nothing queued is sent any more.
    Destroyed,
    /// The socket was shut down both ways, because the kernel cannot destroy sockets
    /// (`CONFIG_INET_DIAG_DESTROY`) or does not find this one by its addresses alone (bound to a device).
    ShutDown,
    /// It was gone already.
    Gone,
}

/// One established TCP connection, held open through a descriptor of our own: drop it soon, for the client does
/// not see sshd close the connection before the last descriptor is gone.
#[derive(Debug)]
pub struct Connection {
    /// This node's end. IPv4-mapped IPv6 is IPv4; only a link-local address has a scope.
    pub local: SocketAddr,
    /// The client's end, in the same form.
    pub peer: SocketAddr,
    /// The kernel's name for the socket, never reused until the next boot (`SO_COOKIE`).
    pub cookie: u64,
    /// The inode of the socket, as in `/proc/PID/fd` and `/proc/net/tcp`.
    pub inode: u64,
    /// The process's own socket, shared.
    fd: OwnedFd,
}

impl Connection {
    /// The one connection that process `pid` serves on one of `local_ports`.
    ///
    /// Without ports any will do, and among several that on a privileged port (below 1024): what the process
    /// opened itself, say to a directory server, starts from an ephemeral one.
    pub fn of_process(pid: Pid, local_ports: &[u16]) -> Result<Self, ConnectionError> {
        let mut found = Self::all_of_process(pid)?;
        if !local_ports.is_empty() {
            found.retain(|connection| local_ports.contains(&connection.local.port()));
        } else if found.len() > 1 {
            found.retain(|connection| connection.local.port() < 1024);
        }
        match <[Self; 1]>::try_from(found) {
            Ok([connection]) => Ok(connection),
            Err(found) => Err(ConnectionError::NotOne { pid, found: found.len() }),
        }
    }

    /// The connection of process `pid` with this cookie.
    pub fn with_cookie(pid: Pid, cookie: u64) -> Result<Self, ConnectionError> {
        let found = Self::all_of_process(pid)?.into_iter().find(|connection| connection.cookie == cookie);
        found.ok_or(ConnectionError::NotOne { pid, found: 0 })
    }

    /// Every distinct connection that process `pid` holds, whoever opened it.
    fn all_of_process(pid: Pid) -> Result<Vec<Self>, ConnectionError> {
        let inaccessible = |errno: Errno| match errno {
            Errno::SRCH => ConnectionError::ProcessGone { pid },
            errno => ConnectionError::Inaccessible { pid, source: errno.into() },
        };
        // From here on the pid cannot come to mean another process unnoticed: the pidfd stays with this one.
        let process = pidfd_open(pid, PidfdFlags::empty()).map_err(inaccessible)?;
        if !shares_network(pid)? {
            return Err(ConnectionError::OtherNetwork { pid });
        }
        let mut found: Vec<Self> = Vec::new();
        for (number, inode) in sockets(pid)? {
            let fd = match pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
                Ok(fd) => fd,
                // Closed since it was listed.
                Err(Errno::BADF) => continue,
                Err(errno) => return Err(inaccessible(errno)),
            };
            // The inode tells that the descriptor is still the socket that was listed.
            let connection = Self::of_socket(fd, inode);
            found.extend(connection.filter(|new| found.iter().all(|known| known.cookie != new.cookie)));
        }
        Ok(found)
    }

    /// The connection of one socket, if it is a connected TCP socket.
    fn of_socket(fd: OwnedFd, inode: u64) -> Option<Self> {
        let domain = sockopt::socket_domain(&fd).ok()?;
        let is_tcp = sockopt::socket_protocol(&fd).ok()? == Some(ipproto::TCP);
        if !is_tcp || (domain != AddressFamily::INET && domain != AddressFamily::INET6) {
            return None;
        }
        let peer = canonical(net::getpeername(&fd).ok()??.try_into().ok()?);
        let local = canonical(net::getsockname(&fd).ok()?.try_into().ok()?);
        let cookie = sockopt::socket_cookie(&fd).ok()?;
        let is_listed = rustix::fs::fstat(&fd).is_ok_and(|stat| stat.st_ino == inode);
        is_listed.then_some(Self { local, peer, cookie, inode, fd })
    }

    /// Ends the connection for both sides, now. Needs `CAP_NET_ADMIN`; without it the socket is shut down.
    pub fn destroy(&self) -> Result<Ended, DestroyError> {
        match destroy_flow(self.local, self.peer, self.cookie) {
            Ok(Ended::Destroyed) => Ok(Ended::Destroyed),
            Ok(Ended::Gone | Ended::ShutDown) | Err(_) => self.shut_down(),
        }
    }

    fn shut_down(&self) -> Result<Ended, DestroyError> {
        match net::shutdown(&self.fd, Shutdown::Both) {
            Ok(()) => Ok(Ended::ShutDown),
            Err(Errno::NOTCONN) => Ok(Ended::Gone),
            Err(errno) => Err(DestroyError::Kernel(errno.into())),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The descriptors of `pid` that are sockets, with their inodes.
fn sockets(pid: Pid) -> Result<Vec<(i32, u64)>, ProcessError> {
    let path = proc_path(pid, "fd");
    let entries = fs::read_dir(&path).map_err(|source| ProcessError::Read { path, source })?;
    let socket = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((number, inode))
    };
    Ok(entries.flatten().filter_map(socket).collect())
}

/// IPv4-mapped addresses as IPv4, and no flow label.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => match v6.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddrV4::new(ip, v6.port()).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
        },
    }
}

#[cfg(test)]
mod tests;
