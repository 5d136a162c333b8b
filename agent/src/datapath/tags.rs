//! Telling sockets that are there already whose they are.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use agent_ebpf::{Address, Endpoint, Port, Protocol, SessionId, Tag};
use aya::maps::{Map, MapData, SkStorage};
use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_cookie, socket_domain, socket_protocol};
use rustix::net::{AddressFamily, getsockname, ipproto};

use super::object::TAGS;
use super::table::errno;
use super::{Error, Tables, network, now};

/// Only sockets that remember nothing (`BPF_NOEXIST`).
const NEW: u64 = 1;

/// What sockets remember, to be written from here.
pub(super) struct Tags(Mutex<SkStorage<MapData, Tag>>);

impl Tags {
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        let map = MapData::from_pin(directory.join(TAGS)).and_then(Map::from_map_data);
        let storage = map.and_then(SkStorage::try_from).map_err(Error::map(TAGS))?;
        Ok(Self(Mutex::new(storage)))
    }

    /// False if the socket remembers something already.
    fn insert(&self, socket: &OwnedFd, tag: &Tag) -> Result<bool, Error> {
        let mut storage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match storage.insert(socket, tag, NEW) {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(Errno::EXIST.raw_os_error()) => Ok(false),
            Err(error) => Err(Error::map(TAGS)(error)),
        }
    }
}

impl Tables {
    /// Makes a socket that remembers nothing a session's, as if it had been made while that was known; true if it is an
    /// endpoint now. A port that the kernel has chosen counts as asked for.
    pub fn adopt(&self, socket: &OwnedFd, session: SessionId) -> Result<bool, Error> {
        let Some((protocol, local)) = bound(socket) else { return Ok(false) };
        let tag = Tag::of(session, protocol);
        let tag = if local.is_some() { tag.opened() } else { tag };
        if !self.tags.insert(socket, &tag)? {
            return Ok(false);
        }
        let (Some((address, port)), Ok(cookie)) = (local, socket_cookie(socket)) else { return Ok(false) };
        match self.list_endpoint(cookie, &Endpoint::new(&tag, address, port, now())) {
            // What is not listed for want of room is judged all the same.
            Ok(()) | Err(Error::TableFull { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// The protocol of a socket in this network namespace, and where others reach it, if they do.
fn bound(socket: &OwnedFd) -> Option<(Protocol, Option<(Address, Port)>)> {
    let domain = socket_domain(socket).ok()?;
    if !matches!(domain, AddressFamily::INET | AddressFamily::INET6)
        || network::of(socket).ok()? != network::cookie().ok()?
    {
        return None;
    }
    let protocol = match socket_protocol(socket).ok()?? {
        ipproto::TCP => Protocol::Tcp,
        ipproto::UDP | ipproto::UDPLITE => Protocol::Udp,
        _ => return None,
    };
    let local = std::net::SocketAddr::try_from(getsockname(socket).ok()?).ok()?;
    let is_open = match protocol {
        Protocol::Tcp => socket_acceptconn(socket).ok()?,
        Protocol::Udp => local.port() != 0,
    };
    Some((protocol, is_open.then(|| (local.ip().into(), Port::new(local.port())))))
}
