//! One short line to the system's log, facility authpriv, without ever waiting for it.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// Where syslogd, or journald in its place, listens.
pub const SOCKET: &str = "/dev/log";

/// `LOG_AUTHPRIV` of syslog(3).
const AUTHPRIV: u8 = 10 << 3;
/// The most bytes of a line's text.
const MAX_TEXT: usize = 600;

/// How much a line matters; syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Severity {
    /// Someone should look at once.
    Alert = 1,
    /// Something does not work.
    Error = 3,
    /// Something is not as it should be.
    Warning = 4,
}

/// The log. Lines that cannot be delivered are dropped: a full disk must not keep a login waiting.
#[derive(Debug, Clone)]
pub struct Syslog {
    socket: PathBuf,
}

impl Syslog {
    /// A log that writes to the datagram socket at `socket`, usually [`SOCKET`].
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Writes one line. `text` should hold what strangers say only as [`quoted`].
    pub fn line(&self, severity: Severity, text: &str) {
        let priority = AUTHPRIV | severity as u8;
        let text = quoted(text.as_bytes(), MAX_TEXT);
        let line = format!("<{priority}>cotter-hook[{}]: {text}", std::process::id());
        if let Ok(socket) = UnixDatagram::unbound()
            && socket.set_nonblocking(true).is_ok()
        {
            // Best effort: there is nowhere left to complain to.
            let _ = socket.send_to(line.as_bytes(), &self.socket);
        }
    }
}

/// Foreign bytes as printable ASCII of at most about `max` bytes.
pub fn quoted(bytes: &[u8], max: usize) -> String {
    let mut text = String::new();
    for &byte in bytes {
        if text.len() >= max {
            text.push_str("...");
            break;
        }
        match byte {
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.extend(byte.escape_ascii().map(char::from)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_arrives_with_its_priority_and_cannot_be_two() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = UnixDatagram::bind(&path).unwrap();
        Syslog::new(&path).line(Severity::Warning, "login of a\nb refused");
        let mut buffer = [0; 2048];
        let len = log.recv(&mut buffer).unwrap();
        let expected = format!("<84>cotter-hook[{}]: login of a\\nb refused", std::process::id());
        assert_eq!(String::from_utf8_lossy(&buffer[..len]), expected);
    }

    #[test]
    fn a_missing_log_is_no_trouble() {
        Syslog::new("/nonexistent/log").line(Severity::Alert, "nobody hears this");
    }

    #[test]
    fn foreign_bytes_are_escaped_and_short() {
        assert_eq!(quoted(b"a\x1b[0m\xff\0", 64), "a\\x1b[0m\\xff\\x00");
        assert_eq!(quoted(&[b'A'; 100_000], 8), "AAAAAAAA...");
    }
}
