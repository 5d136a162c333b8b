//! Connecting to one of the agent's sockets without waiting for ever.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Connects. A listener that is there but hangs leaves those who connect waiting once its queue is full; they wait no
/// longer than `limit`, which stays the limit of writing.
///
/// # Errors
/// It is not there, may not be used, or takes no connection in time ([`io::ErrorKind::TimedOut`]).
pub(crate) fn connect_within(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // unix(7): what limits sending limits connecting.
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => Ok(socket.into()),
        Err(Errno::AGAIN) => {
            let why = format!("took no connection within {} s", limit.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::net::{bind, listen};

    use super::*;

    #[test]
    fn a_listener_whose_queue_is_full_is_not_waited_for_longer_than_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let connect = || connect_within(&path, Duration::from_secs(1));
        assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, 0).unwrap();
        let _queued = connect().unwrap();
        let begin = Instant::now();
        assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}
