//! Relayed connections: what their processes tell of them, for as long as these are there.

use super::{Daemon, lock};
use crate::connections::{Connection, is_relayed};
use crate::relay::{Announcement, Answer};
use pinning::{Address, How, Mode, Observed};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// How many there may be at once.
const AT_ONCE: usize = 16_384;
/// How long the process of a connection may take to say whose it is.
const ASKING: Duration = Duration::from_secs(1);
/// Longest announcement, in bytes.
const LONGEST: u64 = 1024;

/// Both ends of a connection to sshd within the node: the user's, sshd's.
type Inner = (SocketAddr, SocketAddr);

/// Those that are known.
#[derive(Debug, Default)]
pub(super) struct Relayed {
    by_inner: Mutex<HashMap<Inner, Carried>>,
}

/// A balancer's connection, and how it is known whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    /// The balancer's connection.
    pub(crate) outer: Connection,
    /// How its user's address was observed.
    pub(crate) how: How,
}

impl Relayed {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        lock(&self.by_inner).len()
    }
}

impl Daemon {
    /// Where the user of a connection to sshd is, and the balancer's connection that it came by, if it did; nothing if that
    /// is not known.
    pub(crate) fn observe(
        &self,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Option<(Observed, Option<Connection>)> {
        let carried = lock(&self.relayed.by_inner).get(&(peer, local)).cloned();
        match carried {
            Some(carried) => {
                Some((Observed { address: peer.ip().into(), how: carried.how }, Some(carried.outer)))
            }
            None if is_relayed(local, peer) && self.is_led_back(local.port()) => None,
            // Also what somebody has redirected to loopback, where no relay is.
            None => Some((Observed::direct(peer.ip()), None)),
        }
    }

    /// The balancer's connections that lead to these of sshd's, by their cookies.
    pub(super) fn outer_of(&self, inner: impl Iterator<Item = Connection>) -> HashSet<u64> {
        let known = lock(&self.relayed.by_inner);
        inner.filter_map(|it| Some(known.get(&(it.peer, it.local))?.outer.cookie)).collect()
    }

    /// Why a connection is not to go on to sshd, if it is not. The relay has asked itself some of it, perhaps of an older
    /// configuration.
    fn unwanted(&self, announcement: &Announcement) -> Option<String> {
        let Announcement { outer, user, sshd, .. } = announcement;
        let (config, proxy) = (self.config(), Address::from(outer.peer));
        let Some(relay) = config.relay_ports.iter().find(|relay| relay.port == outer.local.port()) else {
            return Some(format!("port {} is no [[relay_port]] any more", outer.local.port()));
        };
        if !relay.trusts(proxy) {
            return Some(format!("{proxy} is not in trusted_proxies any more"));
        }
        if !is_relayed(*sshd, *user) || sshd.port() != relay.login_port {
            return Some(format!("{sshd} is not where port {} leads to", relay.port));
        }
        // From there everybody connects who is on the node, or comes by a port that is forwarded to it.
        let is_own = proxy.ip().is_loopback() || self.tables.is_local(proxy.ip().into()).unwrap_or(true);
        if is_own && !relay.names(proxy) {
            let why = "one of this node's own addresses; if a balancer runs here, trusted_proxies must name it by itself";
            return Some(format!("{proxy} is {why}"));
        }
        // As the kernel has it for who connects by themselves.
        let spared =
            self.mode() != Mode::Enforce || config.never_drop.iter().any(|it| it.contains(&user.ip()));
        let kept_out = !spared && self.penalties.holds(user.ip()).unwrap_or(false);
        kept_out.then(|| format!("{} is kept out for a while (`cotter-agent penalties`)", user.ip()))
    }
}

/// Listens to the processes of relayed connections until the daemon ends.
pub(super) async fn announcements(daemon: Arc<Daemon>, listener: UnixListener) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = Arc::clone(&daemon);
                tokio::spawn(async move {
                    if let Err(error) = hear(&daemon, stream).await {
                        tracing::debug!("a relayed connection: {error}");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!("a relayed connection's process was not heard: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Hears of one connection, and remembers it until its process ends.
async fn hear(daemon: &Daemon, stream: UnixStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut bounded = (&mut stream).take(LONGEST);
    tokio::time::timeout(ASKING, bounded.read_line(&mut line)).await??;
    let announcement: Announcement = serde_json::from_str(&line)?;
    let unwanted = daemon.unwanted(&announcement);
    let inner = (announcement.user, announcement.sshd);
    let carried = Carried { outer: announcement.outer.into(), how: announcement.how };
    if unwanted.is_none() {
        lock(&daemon.relayed.by_inner).insert(inner, carried.clone());
    }
    let answer = unwanted.map_or(Answer::Go, Answer::Stay);
    let mut answer = serde_json::to_vec(&answer)?;
    answer.push(b'\n');
    let heard = async {
        stream.write_all(&answer).await?;
        // It says no more: this is its end.
        stream.read(&mut [0]).await
    };
    let ended = heard.await;
    let mut known = lock(&daemon.relayed.by_inner);
    // Another may have taken its place.
    if known.get(&inner) == Some(&carried) {
        known.remove(&inner);
    }
    ended.map(drop)
}
