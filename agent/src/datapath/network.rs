//! Which network namespace this is, as the kernel programs know it.
#![expect(unsafe_code, reason = "getsockopt(2) writes where it is told")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// The cookie of this thread's network namespace (`SO_NETNS_COOKIE`, kernel 5.14).
pub(super) fn cookie() -> io::Result<u64> {
    // Any socket will do.
    of(&socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

/// The cookie of a socket's network namespace.
pub(super) fn of(socket: &OwnedFd) -> io::Result<u64> {
    let (mut cookie, mut length) = (0u64, size_of::<u64>() as libc::socklen_t);
    // SAFETY: the kernel writes at most `length` bytes to the cookie; both live until it returns.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if answer == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_network_namespace_has_one_cookie() {
        let cookie = super::cookie().unwrap();
        assert_ne!(cookie, 0);
        assert_eq!(super::cookie().unwrap(), cookie);
    }
}
