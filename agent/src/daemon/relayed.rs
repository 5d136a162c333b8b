//! Relayed connections: what their processes tell of them, for as long as these are there.

use super::carried::{AllCarried, Carried};
use super::{Daemon, lock};
use crate::connections::{Connection, is_relayed};
use crate::datapath::causes;
use crate::family::Family;
use crate::relay::{Announcement, Answer, Call};
use pinning::{Address, How, Mode, Observed};
use rustix::io::IoSliceMut;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use socket2::SockRef;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// How many there may be at once.
const AT_ONCE: usize = 16_384;
/// How long the process of a connection may take to say whose it is.
const ASKING: Duration = Duration::from_secs(1);
/// Longest thing that is said, in bytes: a statement's line as text in JSON.
const LONGEST: usize = 16 << 10;

/// Those that are known.
#[derive(Debug, Default)]
pub(super) struct Relayed {
    carried: AllCarried,
    /// Listeners for bastions' connections that have been taken and whose relays live.
    listeners: Mutex<Vec<IpAddr>>,
    /// Why the kernel does not lead these connections there, if it does not.
    steer_error: Mutex<Option<String>>,
}

impl Relayed {
    /// The families of the bastions' connections for which a relay is there.
    pub(super) fn listens(&self) -> Vec<Family> {
        let listeners = lock(&self.listeners);
        let families: BTreeSet<Family> = listeners.iter().copied().map(Family::of).collect();
        families.into_iter().collect()
    }

    /// Why the kernel does not lead bastions' connections to a relay, if it should and does not.
    pub(super) fn steer_error(&self) -> Option<String> {
        lock(&self.steer_error).clone()
    }

    /// What it was before.
    pub(super) fn set_steer_error(&self, error: Option<String>) -> Option<String> {
        std::mem::replace(&mut lock(&self.steer_error), error)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.carried.count()
    }
}

impl Daemon {
    /// Where the user of a connection to sshd is, and the balancer's connection that it came by, if it did; nothing if that
    /// is not known.
    pub(crate) fn observe(&self, local: SocketAddr, peer: SocketAddr) -> Option<(Observed, Option<Carried>)> {
        let carried = self.relayed.carried.get(&(peer, local));
        match carried {
            // The relay has handed on what nobody vouches for.
            Some(Carried { how: How::Direct, .. }) => None,
            Some(carried) => {
                Some((Observed { address: peer.ip().into(), how: carried.how.clone() }, Some(carried)))
            }
            None if is_relayed(local, peer) && self.is_led_back(local.port()) => None,
            // There was no relay to lead it to.
            None if self.trusted_relay(peer).is_ok() => None,
            // Also what somebody has redirected to loopback, where no relay is.
            None => Some((Observed::direct(peer.ip()), None)),
        }
    }

    /// The balancer's connections that lead to these of sshd's, by their cookies.
    pub(super) fn outer_of(&self, inner: impl Iterator<Item = Connection>) -> HashSet<u64> {
        inner.filter_map(|it| Some(self.relayed.carried.get(&(it.peer, it.local))?.outer.cookie)).collect()
    }

    /// Why a connection is not to go on to sshd, if it is not. The relay has asked itself some of it, perhaps of an older
    /// configuration.
    fn unwanted(&self, announcement: &Announcement) -> Option<String> {
        let user = announcement.user.ip();
        let wrong = match &announcement.how {
            How::Relay { .. } => self.not_of_a_relay(announcement),
            // Counts as nobody's: a break-glass key gets in, where those count.
            How::Direct if user == announcement.outer.peer.ip() => self.not_of_a_relay(announcement),
            How::Direct | How::ProxyV1 { .. } | How::ProxyV2 { .. } | How::XForwardedFor { .. } => {
                self.not_of_a_balancer(announcement)
            }
        };
        if wrong.is_some() {
            return wrong;
        }
        let kept_out = !self.spares(user) && self.penalties.holds(user).unwrap_or(false);
        kept_out.then(|| format!("{user} is kept out for a while (`cotter-agent penalties`)"))
    }

    /// Whether who is there is let be, as the kernel has it for who connects by themselves.
    pub(super) fn spares(&self, address: IpAddr) -> bool {
        let is_named = || self.config().never_drop.iter().any(|network| network.contains(&address));
        self.mode() != Mode::Enforce || is_named()
    }

    /// Why it is no connection of a trusted relay's to this node's sshd, if it is none.
    fn not_of_a_relay(&self, Announcement { outer, user, sshd, .. }: &Announcement) -> Option<String> {
        if !is_relayed(*sshd, *user) || sshd.port() != outer.local.port() {
            return Some(format!("{sshd} is not where {} leads to", outer.local));
        }
        self.trusted_relay(outer.peer).err()
    }

    /// Why it is no connection of a balancer's to where its port leads, if it is none.
    fn not_of_a_balancer(&self, Announcement { outer, user, sshd, .. }: &Announcement) -> Option<String> {
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
        (is_own && !relay.names(proxy)).then(|| {
            format!("{proxy} is one of this node's own addresses; if a balancer runs here, trusted_proxies must name it by itself")
        })
    }

    /// Leads the connections of trusted relays to the listener of this node's relay.
    fn lead_to(&self, listener: Option<OwnedFd>) -> Result<IpAddr, String> {
        let listener = listener.ok_or("no listener came with it")?;
        if self.config().trusted_relays.is_empty() {
            return Err("there is no [[trusted_relay]]".to_owned());
        }
        let local = SockRef::from(&listener).local_addr().map_err(|error| error.to_string())?;
        let address = local.as_socket().ok_or("it is no listener of TCP")?.ip();
        lock(&self.datapath).lead_to(&listener, address).map_err(|error| causes(&error))?;
        Ok(address)
    }
}

/// Listens to the relay's processes until the daemon ends.
pub(super) async fn calls(daemon: Arc<Daemon>, listener: UnixListener) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = Arc::clone(&daemon);
                tokio::spawn(async move {
                    if let Err(error) = hear(&daemon, stream).await {
                        tracing::debug!("a process of the relay: {error}");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!("a process of the relay was not heard: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Hears what one has to say, and answers; what counts as long as its process lives counts until that ends.
async fn hear(daemon: &Daemon, mut stream: UnixStream) -> io::Result<()> {
    let (line, descriptor) = tokio::time::timeout(ASKING, first_line(&stream)).await??;
    match serde_json::from_slice(&line)? {
        Call::Announce(announcement) => announced(daemon, stream, announcement).await,
        Call::Whose(leg) => {
            let answer = match daemon.whose(leg).await {
                Ok(user) => Answer::Of(user),
                Err(why) => daemon.unvouched(leg, why),
            };
            write(&mut stream, &answer).await
        }
        Call::Said { by, line } => write(&mut stream, &Answer::Say(daemon.said(by, &line))).await,
        Call::Listener => offered(daemon, stream, descriptor).await,
    }
}

/// Remembers whose a connection is, until its process ends.
async fn announced(daemon: &Daemon, mut stream: UnixStream, announcement: Announcement) -> io::Result<()> {
    let unwanted = daemon.unwanted(&announcement);
    let inner = (announcement.user, announcement.sshd);
    let Announcement { outer, how, via, .. } = announcement;
    let carried = Carried { outer: outer.into(), how, via };
    let _known = unwanted.is_none().then(|| daemon.relayed.carried.remember(inner, carried));
    write(&mut stream, &unwanted.map_or(Answer::Go, Answer::Stay)).await?;
    // It says no more: this is its end.
    stream.read(&mut [0]).await.map(drop)
}

/// Leads the connections of bastions to a listener, for as long as its relay lives.
async fn offered(daemon: &Daemon, mut stream: UnixStream, listener: Option<OwnedFd>) -> io::Result<()> {
    let address = match daemon.lead_to(listener) {
        Ok(address) => address,
        Err(why) => return write(&mut stream, &Answer::Stay(why)).await,
    };
    lock(&daemon.relayed.listeners).push(address);
    let lives = async {
        write(&mut stream, &Answer::Go).await?;
        // It says no more: this is its end.
        stream.read(&mut [0]).await
    };
    let ended = lives.await;
    let mut listeners = lock(&daemon.relayed.listeners);
    if let Some(place) = listeners.iter().position(|it| *it == address) {
        listeners.swap_remove(place);
    }
    ended.map(drop)
}

async fn write(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    let mut answer = serde_json::to_vec(answer)?;
    answer.push(b'\n');
    stream.write_all(&answer).await
}

/// What a process says at first, with the descriptor that comes with it, if one does. It comes in one piece.
async fn first_line(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut line = vec![0; LONGEST];
    let mut descriptor = None;
    let read = stream
        .async_io(Interest::READABLE, || {
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut beside = RecvAncillaryBuffer::new(&mut room);
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let read = recvmsg(stream, &mut [IoSliceMut::new(&mut line)], &mut beside, flags)?.bytes;
            for message in beside.drain() {
                if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                    descriptor = descriptors.next();
                }
            }
            Ok(read)
        })
        .await?;
    line.truncate(read);
    Ok((line, descriptor))
}
