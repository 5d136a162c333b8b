//! How a command ends.

use super::plain::{self, Lines};
use std::fmt::Display;
use std::process::ExitCode;

/// An exit code with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or allowed.
    Done,
    /// 1: denied, or not found.
    Denied,
    /// 2: wrong usage or a wrong configuration.
    Usage,
    /// 3: the agent or the kernel is unavailable.
    Unavailable,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Denied => 1,
            Exit::Usage => 2,
            Exit::Unavailable => 3,
        })
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    pub(super) fn usage(message: impl Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    pub(super) fn not_found(message: impl Display) -> Self {
        Self { exit: Exit::Denied, message: message.to_string() }
    }

    pub(super) fn refused(message: impl Display) -> Self {
        Self { exit: Exit::Denied, message: message.to_string() }
    }

    pub(super) fn unavailable(message: impl Display) -> Self {
        Self { exit: Exit::Unavailable, message: message.to_string() }
    }

    /// Why, in words.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Says it, as text or as JSON.
    pub(super) fn report(self, json: bool) -> Exit {
        if json {
            println!("{}", plain::json(&serde_json::json!({ "error": self.message }), Lines::One));
        } else {
            let lines: Vec<_> = self.message.lines().map(plain::plain).collect();
            eprintln!("cotter-agent: {}", lines.join("\n"));
        }
        self.exit
    }
}
