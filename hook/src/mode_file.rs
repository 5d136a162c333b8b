//! The file in which the agent tells the hook what counts when the agent itself is silent.
//!
//! It lies as `mode` in the runtime directory, and in the state directory for the time after a reboot until the
//! agent is up. Lines of `key value`; unknown keys are ignored, so that a newer agent can say more:
//!
//! ```text
//! mode enforce                                  enforce | audit | off
//! until 86400000000000 audit                    from that CLOCK_MONOTONIC nanosecond on, this mode
//! login_ports 22 2222                           the ports that sshd serves; none: any
//! login_names yes                               audit, off: a login name is its own principal
//! principals_file /etc/ssh/auth_principals/%u   audit, off: principals are what this file says
//! ```

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;

use crate::trusted_file::{self, FileError};

/// Its name in either directory.
pub const FILE_NAME: &str = "mode";

/// More than any agent writes.
const MAX_FILE: u64 = 64 * 1024;

/// What the node does with a login that the rules forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Deny it.
    Enforce,
    /// Report it, let it in.
    Audit,
    /// Let it in.
    Off,
}

impl Mode {
    /// The word for it in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
            Self::Off => "off",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Enforce, Self::Audit, Self::Off].into_iter().find(|mode| mode.as_str() == word)
    }
}

/// A mode that takes over at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until {
    /// The moment, in nanoseconds of `CLOCK_MONOTONIC`.
    pub monotonic_ns: u64,
    /// What counts from then on.
    pub mode: Mode,
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeFile {
    /// What counts now.
    pub mode: Mode,
    /// When that ends by itself (`mode enforce --confirm-within`).
    pub until: Option<Until>,
    /// The local ports that sshd serves; empty if unknown.
    pub login_ports: Vec<u16>,
    /// Whether, in audit and off, a login name is its own principal: some cluster has no `principals_file`.
    pub login_names: bool,
    /// The `principals_file` of each cluster that has one, with `%u` for the login name and `%%` for `%`.
    pub principals_files: Vec<String>,
}

/// Why text is not a mode file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed line {line}: {text:?}")]
pub struct ParseError {
    /// Counted from 1; 0 if the line `mode` is missing.
    pub line: usize,
    /// The line.
    pub text: String,
}

/// Why the file of a directory does not count.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is missing, or not believed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its text is malformed.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

impl ReadError {
    /// Whether there simply is no file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File(error) if error.is_missing())
    }
}

impl ModeFile {
    /// The mode that counts at this nanosecond of `CLOCK_MONOTONIC`.
    pub fn mode_at(&self, monotonic_ns: u64) -> Mode {
        match self.until {
            Some(until) if monotonic_ns >= until.monotonic_ns => until.mode,
            _ => self.mode,
        }
    }

    /// Reads the file of `dir`, which must be root's alone.
    pub fn read(dir: &Path) -> Result<Self, ReadError> {
        let content = trusted_file::read(&dir.join(FILE_NAME), MAX_FILE)?;
        Ok(String::from_utf8_lossy(&content).parse()?)
    }

    /// Replaces the file of `dir` in one step, readable by all, and on disk when this returns.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let text = self.to_string();
        if text.parse().as_ref() != Ok(self) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "principals_file contains a line break"));
        }
        let new = dir.join(".mode.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
        // The umask may have taken away what the hook, as another user, needs.
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, dir.join(FILE_NAME))?;
        File::open(dir)?.sync_all()
    }
}

impl fmt::Display for ModeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Written by cotter-agent for cotter-hook; changes here are overwritten.")?;
        writeln!(f, "mode {}", self.mode.as_str())?;
        if let Some(until) = self.until {
            writeln!(f, "until {} {}", until.monotonic_ns, until.mode.as_str())?;
        }
        if !self.login_ports.is_empty() {
            let ports: Vec<_> = self.login_ports.iter().map(u16::to_string).collect();
            writeln!(f, "login_ports {}", ports.join(" "))?;
        }
        writeln!(f, "login_names {}", if self.login_names { "yes" } else { "no" })?;
        self.principals_files.iter().try_for_each(|template| writeln!(f, "principals_file {template}"))
    }
}

impl FromStr for ModeFile {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (mut mode, mut until, mut login_names) = (None, None, None);
        let (mut login_ports, mut principals_files) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            let malformed = || ParseError { line: number, text: line.chars().take(80).collect() };
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "mode" => mode = Some(Mode::from_word(value).ok_or_else(malformed)?),
                "until" => until = Some(parse_until(value).ok_or_else(malformed)?),
                "login_ports" => login_ports = parse_ports(value).ok_or_else(malformed)?,
                "login_names" => login_names = Some(parse_yes(value).ok_or_else(malformed)?),
                "principals_file" => principals_files.push(value.to_owned()),
                _ => {}
            }
        }
        let mode = mode.ok_or(ParseError { line: 0, text: String::from("no mode") })?;
        let login_names = login_names.unwrap_or(principals_files.is_empty());
        Ok(Self { mode, until, login_ports, login_names, principals_files })
    }
}

fn parse_until(value: &str) -> Option<Until> {
    let (monotonic_ns, mode) = value.split_once(' ')?;
    Some(Until { monotonic_ns: monotonic_ns.parse().ok()?, mode: Mode::from_word(mode)? })
}

fn parse_ports(value: &str) -> Option<Vec<u16>> {
    value.split_ascii_whitespace().map(|port| port.parse().ok()).collect()
}

fn parse_yes(value: &str) -> Option<bool> {
    match value {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn full() -> ModeFile {
        ModeFile {
            mode: Mode::Enforce,
            until: Some(Until { monotonic_ns: 500, mode: Mode::Audit }),
            login_ports: vec![22, 2222],
            login_names: false,
            principals_files: vec!["/etc/ssh/auth_principals/%u".into(), "/srv/my principals/%u".into()],
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_all_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ModeFile::read(dir.path()).unwrap_err().is_missing());
        full().write(dir.path()).unwrap();
        assert_eq!(ModeFile::read(dir.path()).unwrap(), full());
        let plain = ModeFile { until: None, login_ports: vec![], principals_files: vec![], ..full() };
        plain.write(dir.path()).unwrap();
        assert_eq!(ModeFile::read(dir.path()).unwrap(), plain);
        assert_eq!(fs::metadata(dir.path().join(FILE_NAME)).unwrap().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_template_cannot_smuggle_in_a_mode() {
        let dir = tempfile::tempdir().unwrap();
        let forged = ModeFile { principals_files: vec!["/x\nmode off".into()], ..full() };
        assert_eq!(forged.write(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(!dir.path().join(FILE_NAME).exists());
    }

    #[test]
    fn the_second_mode_counts_from_its_moment_on() {
        assert_eq!(full().mode_at(499), Mode::Enforce);
        assert_eq!(full().mode_at(500), Mode::Audit);
        assert_eq!(ModeFile { until: None, ..full() }.mode_at(u64::MAX), Mode::Enforce);
    }

    #[test]
    fn unknown_keys_are_ignored_and_known_ones_must_be_right() {
        let file: ModeFile = "future thing\nmode audit\n\n# comment\n".parse().unwrap();
        assert_eq!((file.mode, file.login_names), (Mode::Audit, true));
        for (text, line) in [
            ("", 0),
            ("login_ports 22\n", 0),
            ("mode", 1),
            ("mode Audit", 1),
            ("mode audit \n", 1),
            ("mode audit\nuntil soon audit", 2),
            ("mode audit\nuntil 5", 2),
            ("mode audit\nlogin_ports 22 65536", 2),
            ("mode audit\nlogin_names maybe", 2),
        ] {
            assert_eq!(text.parse::<ModeFile>().unwrap_err().line, line, "{text:?}");
        }
    }
}
