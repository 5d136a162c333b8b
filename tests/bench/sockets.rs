//! Datagrams to sockets: to one that a session has opened, to others beside it, and to one on a node without Cotter.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use agent_ebpf::{Address, Mode, NEVER, Network, Node, Reason, Session, SessionId};
use anyhow::{Context, Result, ensure};
use cotter_agent::datapath::{Datapath, KernelLog, Settings, Tables};
use lab::frames::Frame;
use lab::{ALICE, Lab, NODE_V4, Place, Process};

use crate::flood::{Flood, Sources};
use crate::program::Program;
use crate::receiving::Receiving;

/// How many datagrams come in a round.
const DATAGRAMS: u32 = 200_000;
/// Where a session's socket is reached, and another one's.
const ENDPOINT: u16 = 60_001;
const ORDINARY: u16 = 60_002;
/// Opens a socket, says so, and leaves it alone: what the kernel does up to its full queue is what is measured.
const SERVER: &str = "import socket, signal, sys; \
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind((\"\", int(sys.argv[1]))); \
    print(\"open\", flush=True); signal.pause()";

/// What a datagram costs the node from the wire to the socket, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sockets {
    /// On a node without Cotter.
    pub(crate) without: f64,
    /// Of nobody's session.
    pub(crate) ordinary: f64,
    /// Of a session, from its pin.
    pub(crate) endpoint: f64,
}

/// The sockets, and who sends to them.
pub(crate) struct SocketBench {
    without: Target,
    ordinary: Target,
    endpoint: Target,
    tables: Tables,
    _devices: [Program; 2],
    _labs: [Lab; 2],
}

impl SocketBench {
    /// Opens the sockets.
    pub(crate) fn set_up(object: &[u8]) -> Result<Self> {
        let labs = [Lab::start()?, Lab::start()?];
        let [with, without] = &labs;
        let scope = with.sessions_directory()?.join("session-1.scope");
        let tables = with.node().enter(|| hold(&scope))??;
        let devices =
            [Program::at_wire(with, object, "bare_pass")?, Program::at_wire(without, object, "bare_pass")?];
        Ok(Self {
            without: Target::open(without, object, ORDINARY, None)?,
            ordinary: Target::open(with, object, ORDINARY, None)?,
            endpoint: Target::open(with, object, ENDPOINT, Some(&scope))?,
            tables,
            _devices: devices,
            _labs: labs,
        })
    }

    /// Measures each once.
    pub(crate) fn round(&self, receiving: &Receiving) -> Result<Sockets> {
        let judged = || Ok::<_, anyhow::Error>(self.tables.counters()?.of(Reason::Pinned));
        let before = judged()?;
        let (without, ordinary) = (self.without.cost(receiving)?, self.ordinary.cost(receiving)?);
        ensure!(judged()? == before, "a socket of no session was judged");
        let endpoint = self.endpoint.cost(receiving)?;
        let counted = judged()? - before;
        ensure!(counted == u64::from(DATAGRAMS), "{counted} of {DATAGRAMS} datagrams were judged");
        Ok(Sockets { without, ordinary, endpoint })
    }
}

/// A socket, and what is sent to it.
struct Target {
    flood: Flood,
    _server: Process,
}

impl Target {
    /// A process in that cgroup, or in that of this process, opens the port.
    fn open(lab: &Lab, object: &[u8], port: u16, cgroup: Option<&Path>) -> Result<Self> {
        let server = serve(lab.node(), port, cgroup)?;
        let frame =
            Frame::udp(SocketAddr::new(ALICE.v4.into(), 40_000), SocketAddr::new(NODE_V4.into(), port));
        let flood = Flood::prepare(lab, object, &format!("flood-{port}"), Sources::only(ALICE.v4), &frame)?;
        Ok(Self { flood, _server: server })
    }

    fn cost(&self, receiving: &Receiving) -> Result<f64> {
        Ok(self.flood.time(DATAGRAMS, receiving)?.node)
    }
}

fn serve(node: &Place, port: u16, cgroup: Option<&Path>) -> Result<Process> {
    let mut command = Place::command("sh");
    command.args([
        "-c",
        "[ -z \"$1\" ] || echo $$ >\"$1/cgroup.procs\"; exec python3 -c \"$2\" \"$3\"",
        "serve",
    ]);
    command.arg(cgroup.unwrap_or(Path::new(""))).args([SERVER, &port.to_string()]);
    let mut server = node.spawn(command.stdout(Stdio::piped()))?;
    let mut word = String::new();
    BufReader::new(server.stdout.take().context("a server without output")?).read_line(&mut word)?;
    ensure!(word.trim() == "open", "no server at port {port}");
    Ok(server)
}

/// Loads Cotter's programs, with a session that is pinned to alice's place and whose cgroup this is.
fn hold(scope: &Path) -> Result<Tables> {
    let settings = Settings {
        pin_dir: "/sys/fs/bpf/cotter".into(),
        max_sessions: 1,
        kernel_log: KernelLog::Off,
        sessions_cgroup: scope.parent().map(PathBuf::from),
    };
    fs::create_dir_all(scope)?;
    let (datapath, _) = Datapath::open(&settings)?;
    let tables = datapath.tables()?;
    tables.set_node(&Node::in_mode(Mode::Enforce))?;
    let id = SessionId::new(1);
    let session = Session::pinned(&[Network::host(Address::from(ALICE.v4))]).with_deadline(NEVER - 1);
    tables.insert_session(id, &session, b"{}")?;
    tables.insert_cgroup(fs::metadata(scope)?.ino(), id)?;
    Ok(tables)
}
