//! Asks the agent, which may not be there.

use super::call::{Answer, Call, SOCKET};
use rustix::io::IoSlice;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, BufRead, BufReader, Read};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest answer, in bytes.
const LONGEST_ANSWER: u64 = 4096;

/// Says something, with a descriptor if there is one, and waits for the answer so long at most. What comes with the answer ends
/// when the agent does.
pub(super) fn ask(
    call: &Call,
    descriptor: Option<BorrowedFd<'_>>,
    runtime_dir: &Path,
    patience: Duration,
) -> io::Result<(UnixStream, Answer)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Connecting waits as long as writing may.
    socket.set_write_timeout(Some(patience))?;
    socket.set_read_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(runtime_dir.join(SOCKET))?)?;
    let stream = UnixStream::from(OwnedFd::from(socket));
    let mut line = serde_json::to_vec(call)?;
    line.push(b'\n');
    say(&stream, &line, descriptor)?;
    let mut answer = String::new();
    BufReader::new((&stream).take(LONGEST_ANSWER)).read_line(&mut answer)?;
    Ok((stream, serde_json::from_str(&answer)?))
}

/// A line, in one piece: so long a one has room in any socket.
fn say(stream: &UnixStream, line: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut room);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let sent = sendmsg(stream, &[IoSlice::new(line)], &mut beside, SendFlags::NOSIGNAL)?;
    if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
