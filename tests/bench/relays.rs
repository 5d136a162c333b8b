//! The bytes of a connection on the way through the relay, through HAProxy, and with nothing between.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result};
use aya::EbpfLoader;
use aya::maps::{MapData, SockMap};
use aya::programs::SkSkb;
use lab::{ALICE, Agent, AgentSetup, Haproxy, INSIDE, Lab, NODE_V4, Relay};

/// Where the bytes go: a login port, for the relay leads nowhere else.
const SINK: u16 = 2022;
/// Where they may come in.
const RELAY: u16 = 2222;
const HAPROXY: u16 = 2200;
const SOCKMAP: u16 = 2201;

/// How many come at a time, in so large pieces.
const SENT: usize = 256 << 20;
const PIECE: usize = 256 << 10;

/// Bytes a nanosecond: a billion a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relays {
    /// With nothing between.
    pub(crate) direct: f64,
    /// Through the relay, which the balancer's header went before.
    pub(crate) relay: f64,
    /// Through HAProxy.
    pub(crate) haproxy: f64,
    /// By a sockmap of the kernel's, which the relay could use instead of pipes.
    pub(crate) sockmap: f64,
}

/// A node that can be reached in all of these ways.
pub(crate) struct RelayBench {
    sockmap: Carrier,
    _haproxy: Haproxy,
    _relay: Relay,
    _agent: Agent,
    lab: Lab,
}

impl RelayBench {
    /// Sets up the node.
    pub(crate) fn set_up(object: &[u8]) -> Result<Self> {
        let lab = Lab::start()?;
        let port = format!(
            "[[relay_port]]\nport = {RELAY}\ntrusted_proxies = [\"{}\"]\nlogin_port = {SINK}",
            ALICE.v4
        );
        let agent = AgentSetup::new("enforce").line(&format!("login_ports = [22, {SINK}]")).last(&port);
        let agent = agent.start(&lab)?;
        let relay = Relay::start(&lab, RELAY)?;
        let sink = lab.node().enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, SINK)))??;
        std::thread::spawn(move || swallow_all(&sink));
        let haproxy =
            Haproxy::to_any(lab.node(), HAPROXY, SocketAddr::from((Ipv4Addr::LOCALHOST, SINK)), "")?;
        Ok(Self {
            sockmap: Carrier::new(&lab, object)?,
            _haproxy: haproxy,
            _relay: relay,
            _agent: agent,
            lab,
        })
    }

    /// Each way once.
    pub(crate) fn round(&mut self) -> Result<Relays> {
        let header = format!("PROXY TCP4 {} {NODE_V4} 40000 {SINK}\r\n", INSIDE.v4);
        Ok(Relays {
            direct: self.speed(&self.connect(SINK)?, "").context("direct")?,
            relay: self.speed(&self.connect(RELAY)?, &header).context("relay")?,
            haproxy: self.speed(&self.connect(HAPROXY)?, "").context("HAProxy")?,
            sockmap: self.by_sockmap().context("sockmap")?,
        })
    }

    fn by_sockmap(&mut self) -> Result<f64> {
        let connection = self.connect(SOCKMAP)?;
        let _legs = self.sockmap.carry(&self.lab)?;
        self.speed(&connection, "")
    }

    fn connect(&self, port: u16) -> Result<TcpStream> {
        Ok(self.lab.alice().enter(|| TcpStream::connect((NODE_V4, port)))??)
    }

    /// How fast it takes everything, until the sink says that it has it.
    fn speed(&self, mut connection: &TcpStream, header: &str) -> Result<f64> {
        let piece = vec![b'x'; PIECE];
        connection.write_all(header.as_bytes())?;
        let start = Instant::now();
        for _ in 0..SENT / PIECE {
            connection.write_all(&piece)?;
        }
        connection.read_exact(&mut [0])?;
        Ok(SENT as f64 / start.elapsed().as_nanos() as f64)
    }
}

/// Takes what comes by each connection, and says so.
fn swallow_all(sink: &TcpListener) {
    for connection in sink.incoming().flatten() {
        std::thread::spawn(move || swallow(connection));
    }
}

fn swallow(mut connection: TcpStream) {
    let (mut piece, mut left) = (vec![0; PIECE], SENT);
    while let Ok(read @ 1..) = connection.read(&mut piece) {
        left = left.saturating_sub(read);
        if left == 0 {
            // Whoever waits for it will see.
            let _gone = connection.write_all(b".");
        }
    }
}

/// Accepts a connection and has the kernel carry its bytes on.
struct Carrier {
    listener: TcpListener,
    legs: SockMap<MapData>,
    _program: aya::Ebpf,
}

impl Carrier {
    fn new(lab: &Lab, object: &[u8]) -> Result<Self> {
        let listener = lab.node().enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, SOCKMAP)))??;
        let front = u32::from(SOCKMAP);
        let mut ebpf = EbpfLoader::new().override_global("FRONT", &front, true).load(object)?;
        let legs: SockMap<_> = ebpf.take_map("LEGS").context("LEGS")?.try_into()?;
        let program: &mut SkSkb = ebpf.program_mut("carry").context("carry")?.try_into()?;
        program.load()?;
        program.attach(legs.fd())?;
        Ok(Self { listener, legs, _program: ebpf })
    }

    /// The next connection: it is carried as long as both of its legs are held.
    fn carry(&mut self, lab: &Lab) -> Result<[TcpStream; 2]> {
        let (front, _) = self.listener.accept()?;
        let back = lab.node().enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, SINK)))??;
        self.legs.set(0, &front, 0)?;
        self.legs.set(1, &back, 0)?;
        Ok([front, back])
    }
}
