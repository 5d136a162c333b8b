//! The journal: journald's own socket where there is one, standard error elsewhere.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

/// journald's socket for structured entries (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const SOCKET: &str = "/run/systemd/journal/socket";

/// Where events are written for good.
#[derive(Debug)]
pub struct Journal {
    socket: Option<UnixDatagram>,
}

impl Journal {
    /// The journal of this machine.
    #[must_use]
    pub fn open() -> Self {
        let socket = UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET).map(|()| socket));
        Self { socket: socket.ok() }
    }

    /// Whether this is journald's.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Writes one event: as the message of a journal entry with `SYSLOG_IDENTIFIER=cotter-audit`, or as a line. Waits
    /// for a journal that is slow.
    pub fn write(&self, line: &str) {
        // JSON as serde_json writes it has no raw newline, so the simple form of a field will do.
        let entry = format!("SYSLOG_IDENTIFIER=cotter-audit\nPRIORITY=5\nMESSAGE={line}\n");
        let sent = self.socket.as_ref().is_some_and(|socket| socket.send(entry.as_bytes()).is_ok());
        if !sent {
            // A closed standard error must not end who writes.
            let _lost = writeln!(io::stderr(), "{line}");
        }
    }
}
