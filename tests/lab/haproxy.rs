//! A real HAProxy in front of something: it passes connections on as they are, and says whose they are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::eventually::eventually;
use crate::place::Place;
use crate::process::Process;

const HAPROXY: &str = "/usr/sbin/haproxy";

/// A running HAProxy in TCP mode, at a port of all addresses of a place.
#[derive(Debug)]
pub struct Haproxy {
    place: Place,
    control: String,
    _process: Process,
}

impl Haproxy {
    /// Starts one at `place` that sends connections to its `port` on to `to`, with further words of the `server` line,
    /// such as `send-proxy`. It asks `to` itself for `/healthz`, with the same header, every 200 ms.
    pub fn start(place: &Place, port: u16, to: SocketAddr, words: &str) -> Result<Self> {
        let check = "option httpchk GET /healthz\n  http-check expect status 200";
        Self::checking(place, port, to, check, &format!("{words} check check-ssl verify none inter 200ms"))
    }

    /// Starts one that only looks whether somebody is there, with the same header, every 200 ms.
    pub fn to_any(place: &Place, port: u16, to: SocketAddr, words: &str) -> Result<Self> {
        Self::checking(place, port, to, "option tcp-check", &format!("{words} check inter 200ms"))
    }

    fn checking(place: &Place, port: u16, to: SocketAddr, check: &str, words: &str) -> Result<Self> {
        let configuration = format!("/etc/haproxy/lab-{port}.cfg");
        let control = format!("/run/haproxy-{port}.sock");
        place.write(
            &configuration,
            &format!(
                "global\n  stats socket {control}\n\
                 defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
                 listen authority\n  bind :::{port} v4v6\n  {check}\n  server authority {to} {words}\n"
            ),
        )?;
        // In the foreground, one process: with it ends all that it is.
        let mut haproxy = Place::command(HAPROXY);
        haproxy.args(["-db", "-q", "-f", &configuration]).stdout(Stdio::null()).stderr(Stdio::null());
        let process = place.spawn(&mut haproxy)?;
        listens(place, port)?;
        Ok(Self { place: place.clone(), control, _process: process })
    }

    /// How its last look at the server came out: `L7OK` if it was answered as it should be.
    pub fn health(&self) -> Result<String> {
        let listing = self.place.enter(|| -> std::io::Result<String> {
            let mut control = UnixStream::connect(&self.control)?;
            control.write_all(b"show stat\n")?;
            let mut listing = String::new();
            control.read_to_string(&mut listing)?;
            Ok(listing)
        })??;
        let column = |line: &str, number: usize| line.split(',').nth(number).map(str::to_owned);
        let names = listing.lines().next().context("no statistics")?;
        let number = names.split(',').position(|name| name == "check_status").context("no such column")?;
        let server = listing.lines().find(|line| line.starts_with("authority,authority,"));
        server.and_then(|line| column(line, number)).context("no such server")
    }
}

/// Waits until something listens there.
pub(crate) fn listens(place: &Place, port: u16) -> Result<()> {
    eventually(&format!("port {port} of {} is open", place.name()), || {
        let open = place.enter(|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(open.then_some(()))
    })
}
