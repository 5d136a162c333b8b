//! Accepts what trusted balancers connect, and gives each connection a process.

use super::call::{GROUP, SOCKET};
use super::offer;
use crate::config::{self, ConfigError, RelayPort};
use crate::seldom::{Seldom, also};
use pinning::Address;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Connections at once, of all relay ports and of trusted relays, each of which has its share of them; more wait in the kernel's queue.
const AT_ONCE: usize = 8192;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why the relay does not run.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is nothing to do.
    #[error("neither [[relay_port]] nor [[trusted_relay]] in the configuration: there is nothing to relay")]
    NoPort,
    /// The port is taken, or may not be listened on.
    #[error("cannot listen on port {port}: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// A listener is broken.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the processes of connections are started with.
struct Start {
    program: std::path::PathBuf,
    runtime_dir: std::path::PathBuf,
}

/// Listens on all relay ports until the process is ended; the connections' own processes outlive it.
///
/// # Errors
/// It cannot listen, or no more.
pub async fn run(config_path: &Path) -> Result<(), RelayError> {
    let config = config::load_relay(config_path)?;
    if config.relay_ports.is_empty() && !config.trusts_relays {
        return Err(RelayError::NoPort);
    }
    let start = Start { program: std::env::current_exe()?, runtime_dir: config.runtime_dir };
    let start = Arc::new(start);
    let share = AT_ONCE / (config.relay_ports.len() + usize::from(config.trusts_relays));
    look_for_agent(&start.runtime_dir);
    let mut ports = JoinSet::new();
    for port in config.relay_ports {
        let listener = listen(port.port).map_err(|source| RelayError::Listen { port: port.port, source })?;
        ports.spawn(accept(listener, Door::Balancers(port), share, Arc::clone(&start)));
    }
    if config.trusts_relays {
        let listeners = offer::listen()?;
        let share = share / listeners.len().max(1);
        for listener in listeners {
            offer::to_agents(listener.try_clone()?, start.runtime_dir.clone())?;
            ports.spawn(accept(TcpListener::from_std(listener)?, Door::Relays, share, Arc::clone(&start)));
        }
    }
    // Who has started it may wait for that.
    let _unheard = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    while ports.join_next().await.is_some() {}
    Ok(())
}

/// Says so if the agent cannot be told of anything: nobody would get in, and nothing else would say why.
fn look_for_agent(runtime_dir: &Path) {
    let socket = runtime_dir.join(SOCKET);
    if let Err(error) = UnixStream::connect(&socket)
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        tracing::error!(
            "the agent cannot be told whose connections are: {}: {error}; its unit needs SupplementaryGroups={GROUP}",
            socket.display()
        );
    }
}

/// A listener at all addresses, of both families where the node has both.
fn listen(port: u16) -> io::Result<TcpListener> {
    let (socket, all): (_, IpAddr) = match socket(Domain::IPV6) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            (socket, Ipv6Addr::UNSPECIFIED.into())
        }
        Err(error) if Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT) => {
            (socket(Domain::IPV4)?, Ipv4Addr::UNSPECIFIED.into())
        }
        Err(error) => return Err(error),
    };
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(all, port).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn socket(family: Domain) -> io::Result<Socket> {
    Socket::new(family, Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

/// Where connections come in, and of whom.
enum Door {
    /// Of balancers, at a port of theirs.
    Balancers(RelayPort),
    /// Of trusted relays, which the kernel leads here from sshd's ports.
    Relays,
}

impl Door {
    /// Why somebody may not come in, if they may not.
    fn refusal(&self, stream: &TcpStream, peer: SocketAddr) -> Option<&'static str> {
        match self {
            Self::Balancers(port) => (!port.trusts(Address::from(peer))).then_some("not in trusted_proxies"),
            // Whom the kernel program has led here has connected to somewhere else; others have found the listener itself.
            Self::Relays => {
                let led = stream.local_addr().is_ok_and(|local| !local.ip().to_canonical().is_loopback());
                (!led).then_some("not led here by the kernel")
            }
        }
    }

    /// How the process of a connection is to serve it.
    fn arguments(&self, stream: &TcpStream) -> io::Result<Vec<String>> {
        let order = |port: u16| vec!["--login-port".to_owned(), port.to_string()];
        Ok(match self {
            Self::Balancers(port) => order(port.login_port),
            Self::Relays => [order(stream.local_addr()?.port()), vec!["--steered".to_owned()]].concat(),
        })
    }
}

impl fmt::Display for Door {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balancers(port) => write!(out, "port {}", port.port),
            Self::Relays => out.write_str("trusted relays"),
        }
    }
}

async fn accept(listener: TcpListener, door: Door, share: usize, start: Arc<Start>) {
    let slots = Arc::new(Semaphore::new(share));
    let (mut others, mut full, mut failed) = (Seldom::default(), Seldom::default(), Seldom::default());
    let closed = Arc::new(Mutex::new(Seldom::default()));
    loop {
        if slots.available_permits() == 0 {
            full.tell(|_| tracing::warn!("{door}: {share} connections at once; others wait"));
        }
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                failed.tell(|more| {
                    tracing::warn!("{door}: a connection was not accepted: {error}{}", also(more));
                });
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Some(why) = door.refusal(&stream, peer) {
            others.tell(|more| tracing::warn!("{door}: {peer} is closed: {why}{}", also(more)));
            continue;
        }
        match begin(stream, &door, &start) {
            Ok(process) => drop(tokio::spawn(follow(process, slot, Arc::clone(&closed)))),
            Err(error) => failed.tell(|more| {
                tracing::warn!("{peer}: no process for its connection: {error}{}", also(more));
            }),
        }
    }
}

/// Waits until the process of a connection ends, and tells why, if it has said so.
async fn follow(process: Child, slot: OwnedSemaphorePermit, closed: Arc<Mutex<Seldom>>) {
    let said = process.wait_with_output().await.map(|output| output.stderr).unwrap_or_default();
    drop(slot);
    if !said.is_empty() {
        let said = String::from_utf8_lossy(&said);
        let mut closed = closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.tell(|more| tracing::warn!("{}{}", said.trim(), also(more)));
    }
}

/// Starts the process of a connection, which has it as its standard input.
fn begin(stream: TcpStream, door: &Door, start: &Start) -> io::Result<Child> {
    let arguments = door.arguments(&stream)?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let mut command = Command::new(&start.program);
    command.arg("relay-connection").args(arguments).arg("--runtime-dir").arg(&start.runtime_dir);
    command.stdin(Stdio::from(OwnedFd::from(stream))).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
}
