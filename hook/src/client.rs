//! The hook's blocking client: one request, one reply, one deadline for everything together.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::protocol::{HEADER_LEN, Header, ProtocolError, Reply, Request};

/// Why the agent gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No socket, nobody listening, or the connection broke.
    #[error("the agent cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// The whole exchange was not done in time.
    #[error("the agent did not answer in time")]
    TimedOut,
    /// The agent closed the connection before its reply was complete.
    #[error("the agent closed the connection without an answer")]
    Closed,
    /// What is asked about is not text (UTF-8), as every login name and certificate is.
    #[error("the login name or the certificate is not text")]
    NotText,
    /// Request or reply cannot be expressed.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl From<Errno> for AskError {
    fn from(errno: Errno) -> Self {
        // A socket whose time limit passes says EAGAIN, in connect, send and receive alike.
        match errno {
            Errno::AGAIN => Self::TimedOut,
            errno => Self::Unreachable(errno.into()),
        }
    }
}

/// Sends `request` to the agent's socket and waits for its reply, together at most `limit`.
pub fn ask(socket: &Path, request: &Request, limit: Duration) -> Result<Reply, AskError> {
    let deadline = Deadline(Instant::now() + limit);
    let message = request.encode()?;
    let stream = connect(socket, &deadline)?;
    send(&stream, &message, &deadline)?;

    let mut header = [0; HEADER_LEN];
    receive(&stream, &mut header, &deadline)?;
    let header = Header::decode(&header)?;
    let mut body = vec![0; header.body_len];
    receive(&stream, &mut body, &deadline)?;
    Ok(Reply::decode(header, &body)?)
}

struct Deadline(Instant);

impl Deadline {
    /// Gives the next call on the socket what is left of the time; a peer that dribbles gains nothing.
    fn apply(&self, stream: &OwnedFd, direction: Timeout) -> Result<(), AskError> {
        let left = self.0.saturating_duration_since(Instant::now());
        // Below a microsecond the kernel reads zero, which means "for ever".
        if left < Duration::from_millis(1) {
            return Err(AskError::TimedOut);
        }
        Ok(sockopt::set_socket_timeout(stream, direction, Some(left))?)
    }
}

fn connect(socket: &Path, deadline: &Deadline) -> Result<OwnedFd, AskError> {
    let address = SocketAddrUnix::new(socket)?;
    let stream = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    loop {
        // Connecting waits while the queue of a hung agent is full, for as long as the send limit says.
        deadline.apply(&stream, Timeout::Send)?;
        match net::connect(&stream, &address) {
            Err(Errno::INTR) => {}
            done => return Ok(done.map(|()| stream)?),
        }
    }
}

fn send(stream: &OwnedFd, mut bytes: &[u8], deadline: &Deadline) -> Result<(), AskError> {
    while !bytes.is_empty() {
        deadline.apply(stream, Timeout::Send)?;
        match net::send(stream, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn receive(stream: &OwnedFd, mut buffer: &mut [u8], deadline: &Deadline) -> Result<(), AskError> {
    while !buffer.is_empty() {
        deadline.apply(stream, Timeout::Recv)?;
        match net::recv(stream, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Err(AskError::Closed),
            Ok((received, _)) => buffer = buffer.get_mut(received..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
