//! The sshd of this node: what it makes of its configuration, and telling it to read it anew.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use rustix::fs::{MemfdFlags, memfd_create};

use super::Error;
use super::connection::Connection;
use crate::command;

/// The daemon itself; it wants to be called by its whole path.
pub(super) const SSHD: &str = "/usr/sbin/sshd";
/// Its configuration.
pub(crate) const CONFIG: &str = "/etc/ssh/sshd_config";
/// Without it sshd does not even check its configuration; systemd makes it when sshd starts.
const SEPARATION: &str = "/run/sshd";

/// How long sshd may take to say it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is in force for a connection: keywords in lower case, each with its values in their order.
#[derive(Debug, Clone)]
pub(crate) struct Effective(BTreeMap<String, Vec<String>>);

impl Effective {
    /// What sshd goes by with its own configuration.
    pub(crate) fn of(connection: &Connection) -> Result<Self, Error> {
        Self::with(Path::new(CONFIG), connection)
    }

    /// What sshd would go by with a configuration of this text.
    pub(super) fn of_text(text: &str, connection: &Connection) -> Result<Self, Error> {
        let file = memfd_create("sshd_config", MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
        let mut file = fs::File::from(file);
        file.write_all(text.as_bytes())?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Self::with(Path::new(&path), connection)
    }

    fn with(config: &Path, connection: &Connection) -> Result<Self, Error> {
        let printed = run(&["-T", "-C", &connection.specification()], config)?;
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (keyword, value) in printed.lines().filter_map(|line| line.split_once(' ')) {
            values.entry(keyword.to_owned()).or_default().push(value.trim().to_owned());
        }
        Ok(Self(values))
    }

    /// A keyword's value, the last of several; `none` if sshd does not show the keyword.
    pub(crate) fn value(&self, keyword: &str) -> &str {
        self.values(keyword).last().unwrap_or("none")
    }

    /// All values of a keyword that may have several.
    pub(crate) fn values(&self, keyword: &str) -> impl Iterator<Item = &str> {
        self.0.get(keyword).into_iter().flatten().map(String::as_str)
    }
}

/// Whether sshd would start with its configuration.
pub(super) fn check() -> Result<(), Error> {
    run(&["-t"], Path::new(CONFIG)).map(drop)
}

/// The version that sshd says it is of, as `OpenSSH_9.2p1`.
pub(crate) fn version() -> io::Result<String> {
    // Before 9.3 this is no option, and the complaint about it names the version.
    let output = command::output(command::program(SSHD).arg("-V"), PATIENCE)?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let mut words = said.split(|c: char| c.is_whitespace() || c == ',');
    let version = words.find(|word| word.starts_with("OpenSSH_"));
    version.map(str::to_owned).ok_or_else(|| io::Error::other(said.trim().to_owned()))
}

fn run(arguments: &[&str], config: &Path) -> Result<String, Error> {
    match fs::create_dir(SEPARATION) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let said = command::text(command::program(SSHD).args(arguments).arg("-f").arg(config), PATIENCE);
    said.map_err(|error| Error::Program { program: SSHD, what: error.to_string() })
}

/// Has running services read their configurations anew, the agent before sshd; whether that was possible.
pub(super) fn reload() -> Result<bool, Error> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Ok(false);
    }
    for unit in ["cotter-agent.service", "ssh.service", "sshd.service"] {
        // An alias, or a service that does not run, is none of our business.
        let active = command::program("systemctl").args(["--quiet", "is-active", unit]).status()?.success();
        if active {
            let output = command::program("systemctl").args(["reload", unit]).output()?;
            if !output.status.success() {
                let what = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(Error::Program { program: "systemctl reload", what });
            }
        }
    }
    Ok(true)
}
