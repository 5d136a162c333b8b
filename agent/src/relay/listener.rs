//! Accepts what trusted balancers connect, and gives each connection a process.

use super::announcement::{GROUP, SOCKET};
use crate::config::{self, ConfigError, RelayPort};
use pinning::Address;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at once, of all relay ports, each of which has its share of them; more wait in the kernel's queue.
const AT_ONCE: usize = 8192;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How often something is told that others bring about, such as that somebody connects who is no trusted balancer: so many
/// lines at most, in so long a time.
const TELL_MOST: u32 = 10;
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Why the relay does not run.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is nothing to do.
    #[error("no [[relay_port]] in the configuration: there is nothing to relay")]
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
    if config.relay_ports.is_empty() {
        return Err(RelayError::NoPort);
    }
    let start = Start { program: std::env::current_exe()?, runtime_dir: config.runtime_dir };
    let start = Arc::new(start);
    let share = AT_ONCE / config.relay_ports.len();
    look_for_agent(&start.runtime_dir);
    let mut ports = JoinSet::new();
    for port in config.relay_ports {
        let listener = listen(port.port).map_err(|source| RelayError::Listen { port: port.port, source })?;
        ports.spawn(accept(listener, port, share, Arc::clone(&start)));
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

async fn accept(listener: TcpListener, port: RelayPort, share: usize, start: Arc<Start>) {
    let slots = Arc::new(Semaphore::new(share));
    let (mut others, mut full, mut failed) = (Seldom::default(), Seldom::default(), Seldom::default());
    let closed = Arc::new(Mutex::new(Seldom::default()));
    let number = port.port;
    loop {
        if slots.available_permits() == 0 {
            full.tell(|_| tracing::warn!("port {number}: {share} connections at once; others wait"));
        }
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                failed.tell(|more| {
                    tracing::warn!("port {number}: a connection was not accepted: {error}{}", also(more));
                });
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if !port.trusts(Address::from(peer)) {
            others.tell(|more| {
                tracing::warn!("port {number}: {peer} is closed: not in trusted_proxies{}", also(more));
            });
            continue;
        }
        match begin(stream, &port, &start) {
            Ok(process) => {
                let closed = Arc::clone(&closed);
                tokio::spawn(async move {
                    let said =
                        process.wait_with_output().await.map(|output| output.stderr).unwrap_or_default();
                    drop(slot);
                    if !said.is_empty() {
                        let said = String::from_utf8_lossy(&said);
                        let mut closed = closed.lock().unwrap_or_else(PoisonError::into_inner);
                        closed.tell(|more| tracing::warn!("{}{}", said.trim(), also(more)));
                    }
                });
            }
            Err(error) => failed.tell(|more| {
                tracing::warn!("{peer}: no process for its connection: {error}{}", also(more));
            }),
        }
    }
}

/// Starts the process of a connection, which has it as its standard input.
fn begin(stream: TcpStream, port: &RelayPort, start: &Start) -> io::Result<tokio::process::Child> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let mut command = Command::new(&start.program);
    command.arg("relay-connection").arg("--login-port").arg(port.login_port.to_string());
    command.arg("--runtime-dir").arg(&start.runtime_dir);
    command.stdin(Stdio::from(OwnedFd::from(stream))).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
}

/// What others bring about, and is therefore told only so often.
#[derive(Default)]
struct Seldom {
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Seldom {
    /// It has happened: tells it, with how often it was not told before, or does not.
    fn tell(&mut self, tell: impl FnOnce(u64)) {
        if self.since.is_none_or(|since| since.elapsed() >= TELL_EVERY) {
            (self.since, self.told) = (Some(Instant::now()), 0);
        }
        if self.told < TELL_MOST {
            self.told += 1;
            tell(std::mem::take(&mut self.untold));
        } else {
            self.untold += 1;
        }
    }
}

/// The end of a line that stands for others.
fn also(more: u64) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} others like it)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_bring_about_is_told_so_often_and_the_rest_is_counted() {
        let (mut seldom, mut lines) = (Seldom::default(), Vec::new());
        for _ in 0..TELL_MOST + 5 {
            seldom.tell(|more| lines.push(also(more)));
        }
        assert_eq!(lines, vec![String::new(); TELL_MOST as usize]);
        seldom.since = Instant::now().checked_sub(TELL_EVERY);
        seldom.tell(|more| lines.push(also(more)));
        assert_eq!(lines.last().unwrap(), " (and 5 others like it)");
    }
}
