//! The journal: journald's own socket where there is one, standard error elsewhere.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

/// journald's socket for structured entries (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Writes one event: as the message of a journal entry with `SYSLOG_IDENTIFIER=cotter-audit`, or as a line.
pub(super) fn write(line: &str) {
    static SOCKET: OnceLock<Option<UnixDatagram>> = OnceLock::new();
    let socket = SOCKET.get_or_init(connect);
    // JSON as serde_json writes it has no raw newline, so the simple form of a field will do.
    let entry = format!("SYSLOG_IDENTIFIER=cotter-audit\nPRIORITY=5\nMESSAGE={line}\n");
    let sent = socket.as_ref().is_some_and(|socket| socket.send(entry.as_bytes()).is_ok());
    if !sent {
        // A closed standard error must not keep anybody from logging in.
        let _lost = writeln!(io::stderr(), "{line}");
    }
}

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(JOURNAL).ok()?;
    Some(socket)
}
