//! The command line, as sshd, PAM or an administrator gives it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use cotter_hook::process::Pid;
use cotter_hook::syslog;

use crate::Syslog;

pub(crate) const HELP: &str = "\
cotter-hook: what sshd and PAM run to have cotter-agent judge a login

Usage:
  cotter-hook principals --user %u --cert %k   for sshd's AuthorizedPrincipalsCommand
  cotter-hook pam                              for pam_exec, on `session` lines of sshd's PAM file

principals prints the principals that sshd shall accept, none to refuse; it exits 0 either way.
pam judges open_session: exit 0 lets the session open; with 1 the session does not open and its connection
is ended. It does nothing when a session closes and on `account` lines, and fails on `auth` and `password`
lines, where success would mean that it had checked a password.

Options:
  --runtime-dir DIR   where the agent's sockets are (default /run/cotter)
  --state-dir DIR     where the mode is kept over a reboot (default /var/lib/cotter)
  --break-glass FILE  keys that always get in, pam only (default /etc/cotter/break-glass.keys)
  --log-socket FILE   where syslog listens (default /dev/log)
  --help, --version
";

/// Why the command line cannot be followed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("no command")]
    NoCommand,
    #[error("unexpected argument {0}")]
    Unexpected(String),
    #[error("{0} needs a value")]
    NoValue(&'static str),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("malformed value of {0}")]
    Malformed(&'static str),
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Principals {
        asked: Asked,
        node: Node,
    },
    Pam {
        node: Node,
    },
    /// How `pam` starts the process that ends a refused connection a moment later; not for people.
    EndConnection(Target),
    Help,
    Version,
}

/// What sshd asks about. Anything may be in it: the key is not proven yet.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) user: OsString,
    pub(crate) certificate: OsString,
}

/// Where things are on this node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) runtime_dir: PathBuf,
    pub(crate) state_dir: PathBuf,
    pub(crate) break_glass: PathBuf,
    pub(crate) log: Syslog,
}

/// A connection that is to end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) monitor: Pid,
    pub(crate) cookie: u64,
}

impl Command {
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut options = Options::collect(arguments)?;
        if options.help {
            return Ok(Self::Help);
        }
        if options.version {
            return Ok(Self::Version);
        }
        let command = options.command.take().ok_or(UsageError::NoCommand)?;
        match command.to_str() {
            Some("principals") => {
                let (user, certificate) = (options.required("--user")?, options.required("--cert")?);
                Ok(Self::Principals { asked: Asked { user, certificate }, node: options.node()? })
            }
            Some("pam") => Ok(Self::Pam { node: options.node()? }),
            Some("end-connection") => {
                let monitor = Pid::from_raw(options.number("--monitor")?);
                let target = Target {
                    monitor: monitor.ok_or(UsageError::Malformed("--monitor"))?,
                    cookie: options.number("--cookie")?,
                };
                options.end().map(|()| Self::EndConnection(target))
            }
            _ => Err(UsageError::Unexpected(shown(&command))),
        }
    }
}

/// Every option that takes a value.
const VALUED: [&str; 8] = [
    "--user",
    "--cert",
    "--runtime-dir",
    "--state-dir",
    "--break-glass",
    "--log-socket",
    "--monitor",
    "--cookie",
];

/// The arguments, sorted out but not yet understood.
#[derive(Default)]
struct Options {
    command: Option<OsString>,
    values: Vec<(&'static str, OsString)>,
    help: bool,
    version: bool,
}

impl Options {
    /// What follows an option is its value, whatever it looks like: `%u` and `%k` may begin with a dash.
    fn collect(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            if let Some(name) = VALUED.into_iter().find(|name| argument == *name) {
                let value = arguments.next().ok_or(UsageError::NoValue(name))?;
                if options.values.iter().any(|(known, _)| *known == name) {
                    return Err(UsageError::Unexpected(name.to_owned()));
                }
                options.values.push((name, value));
            } else if argument == "--help" {
                options.help = true;
            } else if argument == "--version" {
                options.version = true;
            } else if options.command.is_none() {
                options.command = Some(argument);
            } else {
                return Err(UsageError::Unexpected(shown(&argument)));
            }
        }
        Ok(options)
    }

    fn take(&mut self, name: &str) -> Option<OsString> {
        let at = self.values.iter().position(|(known, _)| *known == name)?;
        Some(self.values.swap_remove(at).1)
    }

    fn required(&mut self, name: &'static str) -> Result<OsString, UsageError> {
        self.take(name).ok_or(UsageError::Missing(name))
    }

    fn number<T: FromStr>(&mut self, name: &'static str) -> Result<T, UsageError> {
        let value = self.required(name)?;
        value.to_str().and_then(|text| text.parse().ok()).ok_or(UsageError::Malformed(name))
    }

    fn path(&mut self, name: &str, default: &str) -> PathBuf {
        self.take(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
    }

    fn node(mut self) -> Result<Node, UsageError> {
        let node = Node {
            runtime_dir: self.path("--runtime-dir", "/run/cotter"),
            state_dir: self.path("--state-dir", "/var/lib/cotter"),
            break_glass: self.path("--break-glass", "/etc/cotter/break-glass.keys"),
            log: Syslog::new(self.path("--log-socket", syslog::SOCKET)),
        };
        self.end().map(|()| node)
    }

    /// Nothing may be left that the command has no use for.
    fn end(self) -> Result<(), UsageError> {
        match self.values.first() {
            Some((name, _)) => Err(UsageError::Unexpected((*name).to_owned())),
            None => Ok(()),
        }
    }
}

fn shown(argument: &OsStr) -> String {
    syslog::quoted(argument.as_encoded_bytes(), 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, UsageError> {
        Command::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn values_are_taken_as_they_are_and_the_rest_has_defaults() {
        let Ok(Command::Principals { asked, node }) = parse("principals --user --help --cert --user") else {
            panic!("not understood");
        };
        assert_eq!((asked.user.to_str(), asked.certificate.to_str()), (Some("--help"), Some("--user")));
        assert_eq!(node.runtime_dir, PathBuf::from("/run/cotter"));
        let Ok(Command::Pam { node }) = parse("--runtime-dir /r pam --break-glass /b") else {
            panic!("not understood");
        };
        assert_eq!((node.runtime_dir, node.break_glass), ("/r".into(), "/b".into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, error) in [
            ("", UsageError::NoCommand),
            ("principles", UsageError::Unexpected("principles".into())),
            ("principals --user a", UsageError::Missing("--cert")),
            ("principals --user", UsageError::NoValue("--user")),
            ("pam --user a", UsageError::Unexpected("--user".into())),
            ("pam --state-dir a --state-dir b", UsageError::Unexpected("--state-dir".into())),
            ("pam --quiet", UsageError::Unexpected("--quiet".into())),
            ("end-connection --monitor 0 --cookie 1", UsageError::Malformed("--monitor")),
            ("end-connection --monitor 1 --cookie -1", UsageError::Malformed("--cookie")),
        ] {
            assert_eq!(parse(line).unwrap_err(), error, "{line:?}");
        }
    }
}
