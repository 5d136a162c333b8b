//! The agent's Unix sockets: who may connect is settled by the file system, who may ask what by the caller's process.

use cotter_hook::protocol::{PAM_SOCKET, PRINCIPALS_SOCKET};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use tokio::net::UnixListener;

/// All sockets below the runtime directory.
#[derive(Debug)]
pub(super) struct Sockets {
    /// Hooks before the key is proven; anybody may connect.
    pub(super) principals: UnixListener,
    /// Hooks after; root.
    pub(super) pam: UnixListener,
    /// Administrators; root.
    pub(super) admin: UnixListener,
    /// Those who may look; root and a group.
    pub(super) read: UnixListener,
    /// The processes of relayed connections; root and the relay's own user.
    pub(super) relay: UnixListener,
}

impl Sockets {
    /// Makes the directory and the sockets, in place of those that a dead agent left.
    pub(super) fn bind(dir: &Path, read_group: &str) -> io::Result<Self> {
        make_dir(&dir.join("unmanaged"), 0o700)?;
        Ok(Self {
            principals: bind(&dir.join(PRINCIPALS_SOCKET), 0o666)?,
            pam: bind(&dir.join(PAM_SOCKET), 0o600)?,
            admin: bind(&dir.join("admin.sock"), 0o600)?,
            read: for_readers(&dir.join("read.sock"), read_group)?,
            relay: for_relay(&dir.join(crate::relay::SOCKET))?,
        })
    }
}

/// A socket for root and a group.
pub(super) fn for_readers(path: &Path, read_group: &str) -> io::Result<UnixListener> {
    let listener = bind(path, 0o600)?;
    match group(read_group) {
        Some(gid) => give(path, gid, read_group),
        None => tracing::warn!(
            "there is no group {read_group} (read_group): only root can use {}",
            path.display()
        ),
    }
    Ok(listener)
}

/// A socket for root and the relay, where that has a user of its own.
fn for_relay(path: &Path) -> io::Result<UnixListener> {
    let listener = bind(path, 0o600)?;
    if let Some(gid) = group(crate::relay::GROUP) {
        give(path, gid, crate::relay::GROUP);
    }
    Ok(listener)
}

/// Lets a group use a socket as well. If it cannot, that is no reason not to start.
fn give(path: &Path, gid: u32, group: &str) {
    let given = chown(path, None, Some(gid));
    if let Err(error) = given.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o660))) {
        tracing::warn!(
            "only root can use {}: it cannot be given to {group} ({error}); the unit may need \
             SupplementaryGroups={group}",
            path.display()
        );
    }
}

/// Makes a directory of root's with these permissions, or gives an existing one these permissions.
pub(super) fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
    fs::create_dir_all(dir).map_err(named)?;
    chown(dir, Some(0), None).map_err(named)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).map_err(named)
}

fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
        _gone => {}
    }
    let listener = UnixListener::bind(path).map_err(named)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(named)?;
    Ok(listener)
}

/// A local group's number (group(5)).
fn group(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}
