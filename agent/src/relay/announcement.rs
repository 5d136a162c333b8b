//! What the process of a relayed connection tells the agent of it, for as long as there is one.

use crate::connections::Connection;
use pinning::How;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The agent's socket for it, below the runtime directory.
pub const SOCKET: &str = "relay.sock";
/// Who may use it beside root: the group of the user that the relay's unit names.
pub const GROUP: &str = "_cotter-relay";

/// How long the agent may take to answer. Without it nobody gets in but by a break-glass key, as at any login.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often an agent that is not there is looked for, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Longest answer, in bytes.
const LONGEST_ANSWER: u64 = 1024;
/// Room for the thread that tells agents.
const STACK: usize = 128 << 10;

/// Whose connection it is, and both of its legs. A line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The balancer's connection.
    pub outer: Leg,
    /// The one within the node: the user's end of it, and sshd's.
    pub user: SocketAddr,
    /// sshd's end.
    pub sshd: SocketAddr,
    /// How the user's address was observed.
    pub how: How,
}

/// A connection that a socket of the relay holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The node's end.
    pub local: SocketAddr,
    /// The balancer's.
    pub peer: SocketAddr,
    /// The socket's cookie.
    pub cookie: u64,
}

impl From<Leg> for Connection {
    fn from(Leg { local, peer, cookie }: Leg) -> Self {
        Self { local, peer, cookie }
    }
}

/// What the agent says to it. A line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The connection goes on to sshd.
    Go,
    /// It does not, and why.
    Stay(String),
}

/// An announcement, and who is to hear it.
pub(super) struct Announced {
    line: Vec<u8>,
    socket: PathBuf,
    /// Ends with the agent that has heard it.
    heard: Option<UnixStream>,
}

impl Announced {
    /// Tells the agent; what it says, or nothing if it is not there.
    ///
    /// # Errors
    /// The announcement cannot be written.
    pub(super) fn tell(
        announcement: &Announcement,
        runtime_dir: &Path,
    ) -> io::Result<(Self, Option<Answer>)> {
        let mut line = serde_json::to_vec(announcement)?;
        line.push(b'\n');
        let mut announced = Self { line, socket: runtime_dir.join(SOCKET), heard: None };
        let answer = announced.tell_agent().ok();
        Ok((announced, answer))
    }

    /// Tells each agent that comes after this one, as long as the process lives. On a thread of its own: the connection waits
    /// for no agent.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub(super) fn tell_others(mut self) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("announcement".to_owned()).stack_size(STACK);
        thread.spawn(move || {
            loop {
                self.await_end();
                // Not all at once, when an agent comes back to many.
                let part = u64::from(std::process::id() % 1000);
                std::thread::sleep(LOOK_AGAIN + Duration::from_millis(part));
                let _not_there_yet = self.tell_agent();
            }
        })?;
        Ok(())
    }

    /// Waits until the agent that has heard it ends; it says no more.
    fn await_end(&mut self) {
        if let Some(mut stream) = self.heard.take()
            && stream.set_read_timeout(None).is_ok()
        {
            let _ended = stream.read(&mut [0]);
        }
    }

    fn tell_agent(&mut self) -> io::Result<Answer> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Connecting waits as long as writing may.
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(&SockAddr::unix(&self.socket)?)?;
        let mut stream = UnixStream::from(OwnedFd::from(socket));
        stream.write_all(&self.line)?;
        let mut answer = String::new();
        BufReader::new(&stream).take(LONGEST_ANSWER).read_line(&mut answer)?;
        let answer = serde_json::from_str(&answer)?;
        self.heard = Some(stream);
        Ok(answer)
    }
}
