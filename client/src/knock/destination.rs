//! Where ssh goes when it is given a name: what all of its configuration makes of that (`ssh -G`).

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use cotter_api::Family;
use tokio::task::{JoinError, spawn_blocking};

use crate::ending::Ended;

/// Set for the ssh that is only asked: what its configuration runs then asks nobody, and knocks nowhere.
pub const ONLY_ASKED: &str = "COTTER_ONLY_ASKED";
/// The port at which ssh knows hosts by their names alone.
const SSH: u16 = 22;
/// Most hosts, one on the way to another.
const MOST_HOPS: usize = 8;

/// Where ssh goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The name that it was given.
    pub name: String,
    /// The name or address that this stands for.
    pub host: String,
    /// The port of sshd there.
    pub port: u16,
    /// Over which families of addresses.
    pub families: Vec<Family>,
    /// How it gets there.
    pub way: Way,
    /// By which name its host keys are known.
    pub known_as: String,
    /// Where they are, perhaps.
    pub known_hosts: Vec<PathBuf>,
}

/// How ssh gets somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It connects.
    Straight,
    /// By way of others, of which this one, as `ssh://[USER@]HOST[:PORT]`, is the first.
    Jump(String),
    /// By what some command makes of it.
    Command,
}

/// Why nobody knows where ssh would go.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// It cannot be asked.
    #[error("ssh cannot be run: {0}")]
    NotRun(#[from] std::io::Error),
    /// It could not be waited for.
    #[error(transparent)]
    Lost(#[from] JoinError),
    /// It was ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// It does not know either.
    #[error("ssh -G: {0}")]
    Unknown(String),
    /// There is no end to the hosts on the way.
    #[error("more than {MOST_HOPS} hosts, each on the way to another: look at ProxyJump")]
    Far,
}

impl Destination {
    /// Asks ssh, with these arguments.
    ///
    /// # Errors
    /// See [`DestinationError`].
    pub async fn ask(arguments: Vec<OsString>) -> Result<Self, DestinationError> {
        let mut ssh = Command::new("ssh");
        ssh.arg("-G").args(arguments).env(ONLY_ASKED, "1").stdin(Stdio::null());
        let Output { status, stdout, stderr } = spawn_blocking(move || ssh.output()).await??;
        if let Some(signal) = status.signal() {
            return Err(Ended { signal }.into());
        }
        let told = Self::read(&String::from_utf8_lossy(&stdout));
        told.ok_or_else(|| DestinationError::Unknown(String::from_utf8_lossy(&stderr).trim().to_owned()))
    }

    /// The host that is connected to on the way there: this one, if there is no other before it.
    ///
    /// # Errors
    /// See [`DestinationError`].
    pub async fn first_hop(self) -> Result<Self, DestinationError> {
        let mut hop = self;
        for _ in 0..MOST_HOPS {
            let Way::Jump(first) = hop.way else { return Ok(hop) };
            hop = Self::ask(vec!["--".into(), first.into()]).await?;
        }
        Err(DestinationError::Far)
    }

    fn read(told: &str) -> Option<Self> {
        let value = |key: &str| told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let set = |key: &str| value(key).filter(|value| *value != "none");
        // What is asked for in known_hosts is, too.
        let host = value("hostname")?.to_ascii_lowercase();
        let port = value("port")?.parse().ok()?;
        let files = ["userknownhostsfile", "globalknownhostsfile"].into_iter().filter_map(set);
        Some(Self {
            name: value("host").unwrap_or(&host).to_owned(),
            port,
            families: match value("addressfamily") {
                Some("inet") => vec![Family::V4],
                Some("inet6") => vec![Family::V6],
                Some(_) | None => vec![Family::V4, Family::V6],
            },
            way: match (set("proxyjump").and_then(|hosts| hosts.split(',').next()), set("proxycommand")) {
                (Some(url), _) if url.starts_with("ssh://") => Way::Jump(url.to_owned()),
                (Some(first), _) => Way::Jump(format!("ssh://{first}")),
                (None, Some(_)) => Way::Command,
                (None, None) => Way::Straight,
            },
            known_as: match set("hostkeyalias") {
                Some(alias) => alias.to_owned(),
                None if port == SSH => host.clone(),
                None => format!("[{host}]:{port}"),
            },
            known_hosts: files.flat_map(str::split_whitespace).map(PathBuf::from).collect(),
            host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(further: &str) -> Destination {
        let usual = "host db\nuser alice\nhostname DB1.example.com\naddressfamily any\nglobalknownhostsfile /g1 /g2\n";
        let told = format!("{usual}userknownhostsfile /u\n{further}");
        Destination::read(&told).unwrap()
    }

    #[test]
    fn a_name_is_what_ssh_makes_of_it() {
        let straight = read("port 22\nproxyjump none");
        assert_eq!((straight.name.as_str(), straight.host.as_str()), ("db", "db1.example.com"));
        assert_eq!((straight.port, &straight.way), (22, &Way::Straight));
        assert_eq!(straight.families, [Family::V4, Family::V6]);
        assert_eq!(straight.known_hosts, ["/u", "/g1", "/g2"].map(PathBuf::from));
        assert_eq!(Destination::read("host a\nport 22"), None);
    }

    #[test]
    fn host_keys_are_known_by_alias_or_with_their_port() {
        assert_eq!(read("port 22").known_as, "db1.example.com");
        assert_eq!(read("port 2222").known_as, "[db1.example.com]:2222");
        assert_eq!(read("port 2222\nhostkeyalias db").known_as, "db");
    }

    #[test]
    fn the_first_of_the_hosts_on_the_way_is_the_one_that_is_connected_to() {
        let way = |line: &str| read(&format!("port 22\n{line}")).way;
        assert_eq!(way("proxyjump a@b:33,c"), Way::Jump("ssh://a@b:33".into()));
        assert_eq!(way("proxyjump ssh://b"), Way::Jump("ssh://b".into()));
        assert_eq!(way("proxycommand nc %h %p"), Way::Command);
        assert_eq!(way("proxycommand none"), Way::Straight);
    }
}
