//! An HTTPS request of which every byte is the test's: what comes before TLS, and the header's lines.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cotter_api::{Fingerprint, Trust};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use crate::place::Place;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request: from where, to whom, and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Https<'a> {
    /// Where it comes from.
    pub from: &'a Place,
    /// Who listens.
    pub to: SocketAddr,
    /// Their certificate's fingerprint.
    pub fingerprint: &'a str,
    /// Sent on the connection before TLS begins.
    pub before: &'a [u8],
    /// Further lines of the request's header, without their ends.
    pub lines: &'a [&'a str],
}

/// What is answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| self.body.clone())
    }
}

impl Https<'_> {
    /// Asks for a path.
    ///
    /// # Errors
    /// The connection ends without an answer.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.ask("GET", path, "")
    }

    /// Sends JSON to a path.
    ///
    /// # Errors
    /// See [`Https::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n");
        for line in self.lines {
            request += &format!("{line}\r\n");
        }
        let length = body.len();
        request += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        self.from.enter(|| self.exchange(&request))?
    }

    fn exchange(&self, request: &str) -> Result<Answer> {
        let trust = Trust::Fingerprint(self.fingerprint.parse::<Fingerprint>()?).client()?;
        let client = ClientConnection::new(trust.into(), ServerName::from(self.to.ip()))?;
        let mut stream = TcpStream::connect(self.to)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        // In as many pieces as there can be.
        for byte in self.before {
            stream.write_all(&[*byte])?;
        }
        let mut stream = StreamOwned::new(client, stream);
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // Not everybody says that no more will come.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && !answer.is_empty() => {}
            other => drop(other?),
        }
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of the header")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Answer { status, body: body.to_owned() })
    }
}

/// Connects and sends the pieces, each in a packet of its own if it can be, until the other end closes: how long that
/// took, and what it had to say.
pub fn until_closed(from: &Place, to: SocketAddr, pieces: &[&[u8]]) -> Result<(Duration, Vec<u8>)> {
    from.enter(|| {
        let start = Instant::now();
        let mut stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut said = Vec::new();
        for piece in pieces {
            // The other end may have closed already.
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        match stream.read_to_end(&mut said) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error.into()),
            _ => Ok((start.elapsed(), said)),
        }
    })?
}
