//! A session's own cgroup: where it is, whether processes are left in it, and ending them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;

use super::SessionId;

/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// How the names of sessions' cgroups end, as logind's do.
const SCOPE: &str = ".scope";
/// How the names begin of those that the agent makes itself.
const OWN: &str = "cotter-";

/// The cgroup2 file system of this node.
#[derive(Debug, Clone)]
pub struct Cgroups {
    root: PathBuf,
}

impl Cgroups {
    /// Finds where cgroup2 is mounted (`/proc/self/mountinfo`, proc(5)).
    ///
    /// # Errors
    /// It is not mounted, or `/proc` cannot be read.
    pub fn find() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        // A mount that another covers is listed too.
        let root = mounts.lines().filter_map(cgroup2_mount_point).find(|point| is_cgroup2(point));
        root.map(|root| Self { root })
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "cgroup2 is not mounted"))
    }

    /// The cgroup of an sshd monitor, if the session has one of its own: a scope, as logind makes them, in which
    /// the listening sshd is not: a cut must not end that.
    #[must_use]
    pub fn of_session(&self, monitor: u32) -> Option<String> {
        let cgroup = cgroup_of(monitor)?;
        let listener = cgroup_of(parent_of(monitor)?);
        (cgroup.ends_with(SCOPE) && Some(&cgroup) != listener.as_ref()).then_some(cgroup)
    }

    /// The directory of the cgroup below which sessions have theirs; made if it is missing.
    ///
    /// # Errors
    /// It can neither be found nor made.
    pub fn provide(&self, slice: &str) -> io::Result<PathBuf> {
        let path = self.path(slice);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(path),
        }
    }

    /// Makes a cgroup for a session that nobody else has given one, and moves its sshd monitor there, and with it all that
    /// the session will start.
    ///
    /// # Errors
    /// The kernel refuses; the monitor stays where it was.
    pub fn make(&self, slice: &str, session: SessionId, monitor: u32) -> io::Result<String> {
        let cgroup = format!("/{}/{}", slice.trim_matches('/'), own_name(session));
        let path = self.path(&cgroup);
        fs::create_dir(&path)?;
        let moved = fs::write(path.join("cgroup.procs"), monitor.to_string());
        if moved.is_err() {
            let _empty = fs::remove_dir(&path);
        }
        moved.map(|()| cgroup)
    }

    /// Whether a cgroup lies below a slice.
    #[must_use]
    pub fn is_below(cgroup: &str, slice: &str) -> bool {
        let inside = cgroup.trim_start_matches('/').strip_prefix(slice.trim_matches('/'));
        inside.is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether [`Cgroups::make`] has made a cgroup for this very session.
    #[must_use]
    pub fn is_made_for(cgroup: &str, session: SessionId) -> bool {
        cgroup.rsplit('/').next() == Some(&own_name(session))
    }

    /// Removes a cgroup that [`Cgroups::make`] has made, if nobody is in it; whether it is gone.
    pub fn remove_own(&self, cgroup: &str) -> bool {
        // The kernel removes none that somebody is in.
        cgroup.rsplit('/').next().is_some_and(is_own)
            && match fs::remove_dir(self.path(cgroup)) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            }
    }

    /// Removes what [`Cgroups::make`] has made below a slice and what nobody is in any more.
    pub fn tidy(&self, slice: &str) {
        for entry in fs::read_dir(self.path(slice)).into_iter().flatten().flatten() {
            if let Some(name) = entry.file_name().to_str() {
                self.remove_own(&format!("{slice}/{name}"));
            }
        }
    }

    /// The kernel's number of a cgroup (`bpf_get_current_cgroup_id`): its directory's inode.
    #[must_use]
    pub fn id(&self, cgroup: &str) -> Option<u64> {
        fs::metadata(self.path(cgroup)).ok().map(|metadata| metadata.ino())
    }

    /// Whether any process is left in a cgroup or below it. A cgroup that is gone has none.
    #[must_use]
    pub fn is_populated(&self, cgroup: &str) -> bool {
        match fs::read_to_string(self.path(cgroup).join("cgroup.events")) {
            Ok(events) => events.lines().any(|line| line == "populated 1"),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// The processes in a cgroup, without those below it. None if it is gone.
    #[must_use]
    pub fn processes(&self, cgroup: &str) -> Vec<u32> {
        let listed = fs::read_to_string(self.path(cgroup).join("cgroup.procs")).unwrap_or_default();
        listed.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// The processes in a cgroup and in those below it.
    #[must_use]
    pub fn all_processes(&self, cgroup: &str) -> Vec<u32> {
        let mut found = self.processes(cgroup);
        let entries = fs::read_dir(self.path(cgroup)).into_iter().flatten().flatten();
        for below in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if let Some(name) = below.file_name().to_str() {
                found.extend(self.all_processes(&format!("{cgroup}/{name}")));
            }
        }
        found
    }

    /// Kills every process in a cgroup and below it (`cgroup.kill`, kernel 5.14).
    ///
    /// # Errors
    /// The cgroup is gone, or the kernel refuses.
    pub fn kill(&self, cgroup: &str) -> io::Result<()> {
        fs::write(self.path(cgroup).join("cgroup.kill"), "1")
    }

    fn path(&self, cgroup: &str) -> PathBuf {
        self.root.join(cgroup.trim_start_matches('/'))
    }
}

/// The name of a session's cgroup that [`Cgroups::make`] makes.
fn own_name(session: SessionId) -> String {
    format!("{OWN}{session}{SCOPE}")
}

/// Whether the last part of a path is a name that [`Cgroups::make`] gives.
fn is_own(name: &str) -> bool {
    name.starts_with(OWN) && name.ends_with(SCOPE)
}

/// The mount point of a mountinfo line of type cgroup2 whose root is the whole hierarchy.
fn cgroup2_mount_point(line: &str) -> Option<PathBuf> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ');
    let (root, point) = (fields.nth(3)?, fields.next()?);
    (file_system.starts_with("cgroup2 ") && root == "/").then(|| Path::new(point).to_owned())
}

fn is_cgroup2(path: &Path) -> bool {
    #[allow(clippy::unnecessary_cast, reason = "the field has another type on other architectures")]
    statfs(path).is_ok_and(|found| found.f_type as i64 == CGROUP2_MAGIC)
}

fn cgroup_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_mount_is_told_from_the_others() {
        let v1 = "30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu";
        let v2 = "31 25 0:27 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate";
        let part = "32 25 0:27 /a /mnt rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount_point(v1), None);
        assert_eq!(cgroup2_mount_point(part), None);
        assert_eq!(cgroup2_mount_point(v2), Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }
}
