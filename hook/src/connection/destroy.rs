//! Ending a socket from outside: `SOCK_DESTROY` over a `NETLINK_SOCK_DIAG` socket (sock_diag(7), Linux 4.5).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::Ended;

/// `SOCK_DESTROY` of linux/sock_diag.h.
const SOCK_DESTROY: u16 = 21;
/// `NLM_F_REQUEST | NLM_F_ACK` of linux/netlink.h.
const REQUEST_WITH_ACK: u16 = 0x1 | 0x4;
/// `NLMSG_ERROR` of linux/netlink.h: an acknowledgement, with errno 0 for success.
const NLMSG_ERROR: u16 = 2;
/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
const REQUEST_LEN: usize = 16 + 56;
/// The kernel answers from within the system call that asks; the limit is for kernels that do not.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Why a socket could not be destroyed.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// The kernel was built without `CONFIG_INET_DIAG_DESTROY`.
    #[error("the kernel cannot destroy sockets")]
    Unsupported,
    /// Local and peer address are of different families.
    #[error("{local} and {peer} cannot be one connection")]
    Families {
        /// One end.
        local: SocketAddr,
        /// The other.
        peer: SocketAddr,
    },
    /// The kernel refused, or its answer was not one.
    #[error("cannot destroy the socket: {0}")]
    Kernel(#[from] io::Error),
}

/// Destroys the TCP socket with these canonical addresses, if it still has this cookie.
///
/// [`Ended::Gone`]: no such socket; also what the kernel says of one that is bound to a device (VRF), unless
/// the device is the scope of its link-local address.
pub fn destroy_flow(local: SocketAddr, peer: SocketAddr, cookie: u64) -> Result<Ended, DestroyError> {
    let request = request(local, peer, cookie).ok_or(DestroyError::Families { local, peer })?;
    match exchange(&request).map_err(io::Error::from)? {
        None => Ok(Ended::Destroyed),
        // ESTALE: another socket has the addresses by now, told by its cookie.
        Some(Errno::NOENT | Errno::STALE) => Ok(Ended::Gone),
        Some(Errno::OPNOTSUPP) => Err(DestroyError::Unsupported),
        Some(errno) => Err(DestroyError::Kernel(errno.into())),
    }
}

/// The netlink message. A dual-stack socket with IPv4-mapped addresses is found as `AF_INET` too.
fn request(local: SocketAddr, peer: SocketAddr, cookie: u64) -> Option<Vec<u8>> {
    let (family, source, destination, interface) = match (local, peer) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => (AddressFamily::INET, local.ip(), peer.ip(), 0),
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            (AddressFamily::INET6, local.ip(), peer.ip(), from.scope_id().max(to.scope_id()))
        }
        (SocketAddr::V4(_), SocketAddr::V6(_)) | (SocketAddr::V6(_), SocketAddr::V4(_)) => return None,
    };
    let [c0, c1, c2, c3, c4, c5, c6, c7] = cookie.to_le_bytes();
    let cookie_halves = [u32::from_le_bytes([c0, c1, c2, c3]), u32::from_le_bytes([c4, c5, c6, c7])];

    let mut message = Vec::with_capacity(REQUEST_LEN);
    // struct nlmsghdr: length, type, flags, sequence, port.
    message.extend_from_slice(&u32::try_from(REQUEST_LEN).ok()?.to_ne_bytes());
    message.extend_from_slice(&SOCK_DESTROY.to_ne_bytes());
    message.extend_from_slice(&REQUEST_WITH_ACK.to_ne_bytes());
    message.extend_from_slice(&1_u32.to_ne_bytes());
    message.extend_from_slice(&0_u32.to_ne_bytes());
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states (any).
    message.extend_from_slice(&[u8::try_from(family.as_raw()).ok()?, IPPROTO_TCP, 0, 0]);
    message.extend_from_slice(&u32::MAX.to_ne_bytes());
    // struct inet_diag_sockid: ports and addresses in network order, interface, the cookie's halves.
    message.extend_from_slice(&local.port().to_be_bytes());
    message.extend_from_slice(&peer.port().to_be_bytes());
    message.extend_from_slice(&address_words(source));
    message.extend_from_slice(&address_words(destination));
    message.extend_from_slice(&interface.to_ne_bytes());
    for half in cookie_halves {
        message.extend_from_slice(&half.to_ne_bytes());
    }
    Some(message)
}

const IPPROTO_TCP: u8 = 6;

/// An address as the kernel's `__be32[4]`: IPv4 in the first word.
fn address_words(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
    }
}

/// Sends the request; the error that the kernel acknowledges it with, or none.
fn exchange(request: &[u8]) -> rustix::io::Result<Option<Errno>> {
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_LIMIT))?;
    net::send(&socket, request, SendFlags::empty())?;
    let mut answer = [0; 256];
    let (len, _) = net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    acknowledgement(answer.get(..len).unwrap_or_default()).ok_or(Errno::PROTO)
}

/// The errno in an `NLMSG_ERROR` message: after the 16 bytes of the header, negative.
fn acknowledgement(answer: &[u8]) -> Option<Option<Errno>> {
    let kind = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    let errno = i32::from_ne_bytes(*answer.get(16..)?.first_chunk()?);
    match (kind, errno) {
        (NLMSG_ERROR, 0) => Some(None),
        (NLMSG_ERROR, negative) => Some(Some(Errno::from_raw_os_error(negative.checked_neg()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_length_that_it_states() {
        let message = request("1.2.3.4:22".parse().unwrap(), "5.6.7.8:9".parse().unwrap(), 7).unwrap();
        assert_eq!(message.len(), REQUEST_LEN);
        assert_eq!(message[..4], 72_u32.to_ne_bytes());
    }

    #[test]
    fn ends_of_different_families_are_refused() {
        let refused = destroy_flow("1.2.3.4:22".parse().unwrap(), "[::1]:9".parse().unwrap(), 7);
        assert!(matches!(refused, Err(DestroyError::Families { .. })), "{refused:?}");
    }

    #[test]
    fn any_bytes_from_the_kernel_are_an_answer_or_none() {
        for len in 0..40 {
            for byte in [0, 1, 2, 0x7f, 0x80, 0xff] {
                let _ = acknowledgement(&vec![byte; len]);
            }
        }
        let mut denied = vec![0; 36];
        denied[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        denied[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(acknowledgement(&denied), Some(Some(Errno::PERM)));
    }
}
