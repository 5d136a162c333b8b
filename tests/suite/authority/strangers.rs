//! Callers that are slow, endless, or no callers at all: each ends within its limit, and everybody else is served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cotter_api::Trust;
use lab::{Authority, NODE_V4, Place};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::{PASSWORD, Story, output};

const PORT: u16 = 8443;
/// Longest that a connection is kept which does not get on: 10 s, and what a busy machine takes.
const LIMIT: Duration = Duration::from_secs(20);

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(from: &Place) -> Result<TcpStream> {
    let stream = from.enter(|| TcpStream::connect((NODE_V4, PORT)))??;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(stream)
}

fn tls(from: &Place, authority: &Authority) -> Result<Tls> {
    let stream = connect(from)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let client = Trust::Fingerprint(authority.fingerprint().parse()?).client()?;
    let name = ServerName::try_from(NODE_V4.to_string())?;
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::new(client), name)?, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    tls.sock.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(tls)
}

/// Sends `drop` again and again until the other end has closed; what it said, and how long it took.
fn until_closed(stream: &mut (impl Read + Write), drop: &[u8]) -> Result<(String, Duration)> {
    let (start, mut said, mut buffer) = (Instant::now(), Vec::new(), [0; 4096]);
    loop {
        ensure!(start.elapsed() < LIMIT, "still open after {LIMIT:?}: {}", String::from_utf8_lossy(&said));
        // Whether it is closed, reading tells.
        let _gone = stream.write_all(drop).and_then(|()| stream.flush());
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => said.extend(&buffer[..length]),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(_reset) => break,
        }
    }
    Ok((String::from_utf8_lossy(&said).into_owned(), start.elapsed()))
}

/// A request, and how the answer begins.
fn asked(from: &Place, authority: &Authority, request: &[u8]) -> Result<String> {
    let mut stream = tls(from, authority)?;
    // It may be refused before it is at its end.
    let _refused = stream.write_all(request);
    Ok(until_closed(&mut stream, b"")?.0)
}

fn login(headers: &str, body: &str) -> String {
    format!("POST /v1/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n{body}")
}

#[test]
fn whoever_does_not_get_on_is_let_go() -> Result<()> {
    let mut story = Story::begin("")?;
    let (authority, away) = (&story.authority, story.lab.elsewhere());
    let slow_body = login("content-length: 1000\r\n", "");
    std::thread::scope(|scope| {
        let silent = scope.spawn(|| until_closed(&mut connect(&away)?, b""));
        let no_tls = scope.spawn(|| until_closed(&mut connect(&away)?, b"\x16"));
        let no_request = scope.spawn(|| until_closed(&mut tls(&away, authority)?, b""));
        let slow_head = scope.spawn(|| {
            let mut stream = tls(&away, authority)?;
            stream.write_all(b"GET /v1/observed HTTP/1.1\r\nx: ")?;
            until_closed(&mut stream, b"y")
        });
        let slow_body = scope.spawn(|| {
            let mut stream = tls(&away, authority)?;
            stream.write_all(slow_body.as_bytes())?;
            until_closed(&mut stream, b" ")
        });
        for (name, ended) in [
            ("silent", silent),
            ("no TLS", no_tls),
            ("no request", no_request),
            ("a head by drops", slow_head),
            ("a body by drops", slow_body),
        ] {
            let (said, _after) =
                ended.join().map_err(|_panic| anyhow::anyhow!("{name} panicked"))?.context(name)?;
            if name == "a body by drops" {
                ensure!(said.starts_with("HTTP/1.1 408 "), "{name}: {said}");
            }
        }
        anyhow::Ok(())
    })?;
    ensure!(story.authority.exit_status()?.is_none(), "it still runs");
    Ok(())
}

#[test]
fn what_is_too_long_or_no_request_is_refused_and_what_comes_in_a_row_is_answered_in_it() -> Result<()> {
    let mut story = Story::begin("")?;
    let (authority, away) = (&story.authority, story.lab.elsewhere());
    let close = "connection: close\r\n";
    let long = "x".repeat(17 * 1024);
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let declared = format!("content-length: {}\r\n{close}", long.len());
    let chunked = format!("transfer-encoding: chunked\r\n{close}");
    let brackets = "[".repeat(10_000);
    for (what, request, status) in [
        ("a long line", format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(96 * 1024)), "414 431 cut"),
        ("a long header", format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(96 * 1024)), "431 cut"),
        ("many headers", format!("GET / HTTP/1.1\r\n{many}\r\n"), "431"),
        ("no HTTP", "\u{0}\u{1}\u{2}\r\n\r\n".into(), "400"),
        ("a long body", login(&declared, &long), "413"),
        (
            "a long body in chunks",
            login(&chunked, &format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len())),
            "413",
        ),
        ("no JSON", login(&format!("content-length: 4\r\n{close}"), "nope"), "400"),
        ("deep JSON", login(&format!("content-length: 10000\r\n{close}"), &brackets), "400 422"),
        ("two lengths", login("content-length: 4\r\ncontent-length: 5\r\n", "nope"), "400"),
        ("another method", format!("PUT /v1/login HTTP/1.1\r\nhost: x\r\n{close}\r\n"), "405"),
    ] {
        let said = asked(&away, authority, request.as_bytes()).context(what)?;
        let found = said.get(9..12).unwrap_or_default();
        let is_cut = found.is_empty() && status.contains("cut");
        ensure!(is_cut || !found.is_empty() && status.contains(found), "{what}: {said:?}");
    }
    let row = format!(
        "{}GET /v1/observed HTTP/1.1\r\nhost: x\r\n{close}\r\n",
        "GET /v1/observed HTTP/1.1\r\nhost: x\r\n\r\n".repeat(49)
    );
    let said = asked(&away, authority, row.as_bytes())?;
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 50, "{said}");
    ensure!(story.authority.exit_status()?.is_none(), "it still runs");
    Ok(())
}

#[test]
fn one_source_has_its_share_of_connections_and_others_get_in() -> Result<()> {
    let story = Story::begin("")?;
    let (home, away) = (story.lab.alice(), story.lab.elsewhere());
    let held: Vec<TcpStream> =
        away.enter(|| (0..400).map(|_| TcpStream::connect((NODE_V4, PORT))).collect::<Result<_, _>>())??;
    let closed = |stream: &&TcpStream| -> bool {
        stream.set_read_timeout(Some(Duration::from_millis(1))).is_ok()
            && match (&mut &**stream).read(&mut [0]) {
                Ok(_end) => true,
                Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
    };
    lab::eventually("what is beyond the share is closed", || {
        Ok((held.iter().filter(closed).count() >= 400 - 256).then_some(()))
    })?;
    let login = story.authority.log_in(&home, "alice", PASSWORD)?;
    ensure!(login.status.success(), "{}", output(&login));
    drop(held);
    lab::eventually("the source gets in again", || {
        let observed = tls(&away, &story.authority);
        Ok(observed.is_ok().then_some(()))
    })
}

#[test]
fn headers_of_balancers_end_within_their_limit_in_pieces_endless_or_binary() -> Result<()> {
    let lines = "proxy_protocol = \"on\"\ntrusted_proxies = [\"198.51.222.2\"]\n";
    let mut story = Story::begin(lines)?;
    let (authority, hop, other) = (&story.authority, story.lab.elsewhere(), story.lab.alice());
    let ends = |from: &Place, first: &[u8], drop: &[u8]| -> Result<Duration> {
        let mut stream = connect(from)?;
        stream.write_all(first)?;
        let (said, after) = until_closed(&mut stream, drop)?;
        ensure!(said.is_empty(), "{said:?}");
        Ok(after)
    };
    let v2 = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat();
    for (what, from, first, drop) in [
        (
            "not from a hop",
            &other,
            b"PROXY TCP4 198.51.111.1 198.51.100.10 1 2\r\n".as_slice(),
            b"".as_slice(),
        ),
        ("none", &hop, b"", b""),
        ("TLS at once", &hop, b"\x16\x03\x01\x02\x00\x01", b""),
        ("by drops", &hop, b"PROXY TCP4 ", b"1"),
        ("endless", &hop, &[b'P'; 8192], b"P"),
        ("a length that lies", &hop, &v2, b"\xff\xff\xff"),
        ("binary", &hop, &[0xff; 512], b"\0"),
    ] {
        let after = ends(from, first, drop).context(what)?;
        ensure!(after < Duration::from_secs(10), "{what}: {after:?}");
    }
    // In pieces it is as good as whole.
    let mut stream = connect(&hop)?;
    for piece in [b"PROXY TCP4 198.51".as_slice(), b".111.1 198.51.100.10 ", b"1 2\r", b"\n"] {
        stream.write_all(piece)?;
        stream.flush()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    stream.set_read_timeout(Some(LIMIT))?;
    let client = Trust::Fingerprint(authority.fingerprint().parse()?).client()?;
    let connection = ClientConnection::new(Arc::new(client), ServerName::try_from(NODE_V4.to_string())?)?;
    let mut tls = StreamOwned::new(connection, stream);
    tls.write_all(b"GET /v1/observed HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let (said, _after) = until_closed(&mut tls, b"")?;
    ensure!(said.contains("198.51.111.1") && said.contains("proxy-v1 via 198.51.222.2"), "{said}");
    ensure!(story.authority.exit_status()?.is_none(), "it still runs");
    Ok(())
}
