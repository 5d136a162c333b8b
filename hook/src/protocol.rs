//! The one small versioned message that the hook and the agent exchange over Unix stream sockets.
//!
//! One connection carries one request and one reply. Encoding and decoding are pure; who reads and writes the
//! bytes decides how ([`crate::client`] blocks with a deadline, the agent is asynchronous): read
//! [`HEADER_LEN`] bytes, [`Header::decode`] them, read `body_len` more, decode those.
//!
//! Versions: the header never changes. A newer version may append fields to a body, which an older reader
//! leaves unread, and may add kinds, which an older reader answers with [`Reply::Error`]. Versions further
//! apart than one do not speak: [`ProtocolError::Version`].

mod wire;

pub use wire::{HEADER_LEN, Header, MAX_LEN, VERSION};
use wire::{Reader, Writer};

/// The socket in the runtime directory that answers [`Request::Principals`]; anybody may connect.
pub const PRINCIPALS_SOCKET: &str = "principals.sock";

/// The socket in the runtime directory that answers [`Request::Open`]; root only.
pub const PAM_SOCKET: &str = "pam.sock";

/// Why bytes are not a message, or a message does not fit into bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The bytes do not begin like a message of ours.
    #[error("not a cotter message")]
    NotOurs,
    /// The other side is more than one version away.
    #[error("message of version {theirs}, this side speaks version {VERSION}")]
    Version {
        /// The version in the header.
        theirs: u8,
    },
    /// A kind that this version does not know.
    #[error("message of unknown kind {kind}")]
    Kind {
        /// The kind in the header.
        kind: u8,
    },
    /// More bytes than [`MAX_LEN`].
    #[error("message of {len} bytes, at most {MAX_LEN} are allowed")]
    TooLong {
        /// What was asked for, header included.
        len: usize,
    },
    /// The message ends before its fields do.
    #[error("message is cut short")]
    Truncated,
    /// A field holds what it must not.
    #[error("message has a malformed field: {name}")]
    Field {
        /// The field's name.
        name: &'static str,
    },
}

/// What the hook asks of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Which principals does sshd accept for this login (AuthorizedPrincipalsCommand)?
    Principals {
        /// The login name (`%u`).
        user: String,
        /// The certificate, base64 without its type (`%k`). Not proven: anybody can send it.
        certificate: String,
    },
    /// The key is proven and a session is about to open (PAM `open_session`).
    Open(Open),
}

/// What PAM knows when a session opens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Open {
    /// `PAM_USER`, the login name.
    pub user: String,
    /// `PAM_TTY`; sshd says "ssh".
    pub tty: String,
    /// `PAM_SERVICE`, usually "sshd".
    pub service: String,
    /// `PAM_RHOST`, the client as sshd names it. For the log only; the kernel knows the address.
    pub rhost: String,
    /// `SSH_AUTH_INFO_0` as it is: one line for each authentication method that succeeded.
    pub auth_info: Vec<u8>,
    /// The cookie of the connection that the hook found its parent to serve.
    pub cookie: Option<u64>,
    /// A break-glass key was used: the login succeeds whatever the agent answers.
    pub break_glass: bool,
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Lines in the form of an AuthorizedPrincipalsFile; none denies.
    Principals {
        /// One line each, without control characters.
        lines: Vec<String>,
    },
    /// The session may open and is recorded.
    Allow {
        /// Text for the user.
        message: Option<String>,
    },
    /// The session must not open.
    Deny {
        /// Text for the user: what is wrong and what to do.
        message: String,
    },
    /// The request was not understood or not permitted; nothing was decided.
    Error {
        /// What went wrong.
        text: String,
    },
}

/// The kinds in the header. Requests are small, replies have the high bit.
mod kind {
    pub(super) const PRINCIPALS: u8 = 0x01;
    pub(super) const OPEN: u8 = 0x02;
    pub(super) const PRINCIPALS_ARE: u8 = 0x81;
    pub(super) const ALLOW: u8 = 0x82;
    pub(super) const DENY: u8 = 0x83;
    pub(super) const ERROR: u8 = 0xff;
}

impl Request {
    /// The whole message, header included; the only error is [`ProtocolError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        match self {
            Self::Principals { user, certificate } => {
                Writer::new(kind::PRINCIPALS).text(user).text(certificate)
            }
            Self::Open(open) => Writer::new(kind::OPEN)
                .text(&open.user)
                .text(&open.tty)
                .text(&open.service)
                .text(&open.rhost)
                .bytes(&open.auth_info)
                .number(open.cookie)
                .flag(open.break_glass),
        }
        .finish()
    }

    /// The request that follows `header`. An error is worth a [`Reply::Error`] with its text.
    pub fn decode(header: Header, body: &[u8]) -> Result<Self, ProtocolError> {
        let mut fields = Reader::new(body);
        match header.kind {
            kind::PRINCIPALS => {
                Ok(Self::Principals { user: fields.text("user")?, certificate: fields.text("certificate")? })
            }
            kind::OPEN => Ok(Self::Open(Open {
                user: fields.text("user")?,
                tty: fields.text("tty")?,
                service: fields.text("service")?,
                rhost: fields.text("rhost")?,
                auth_info: fields.bytes()?.to_vec(),
                cookie: fields.number("cookie")?,
                break_glass: fields.flag("break_glass")?,
            })),
            kind => Err(ProtocolError::Kind { kind }),
        }
    }
}

impl Reply {
    /// The whole message, header included.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        match self {
            Self::Principals { lines } => {
                let count = u64::try_from(lines.len()).unwrap_or(u64::MAX);
                let message = Writer::new(kind::PRINCIPALS_ARE).number(Some(count));
                lines.iter().try_fold(message, |message, line| Ok(message.text(one_line(line)?)))?
            }
            Self::Allow { message } => Writer::new(kind::ALLOW).text(message.as_deref().unwrap_or_default()),
            Self::Deny { message } => Writer::new(kind::DENY).text(message),
            Self::Error { text } => Writer::new(kind::ERROR).text(text),
        }
        .finish()
    }

    /// The reply that follows `header`.
    pub fn decode(header: Header, body: &[u8]) -> Result<Self, ProtocolError> {
        let mut fields = Reader::new(body);
        match header.kind {
            kind::PRINCIPALS_ARE => {
                let count = fields.number("lines")?.ok_or(ProtocolError::Field { name: "lines" })?;
                // Each line takes bytes of the body, so an absurd count ends as `Truncated`, not in memory.
                let mut lines = Vec::new();
                for _ in 0..count {
                    let line = fields.text("line")?;
                    one_line(&line)?;
                    lines.push(line);
                }
                Ok(Self::Principals { lines })
            }
            kind::ALLOW => {
                let message = fields.text("message")?;
                Ok(Self::Allow { message: Some(message).filter(|text| !text.is_empty()) })
            }
            kind::DENY => Ok(Self::Deny { message: fields.text("message")? }),
            kind::ERROR => Ok(Self::Error { text: fields.text("text")? }),
            kind => Err(ProtocolError::Kind { kind }),
        }
    }
}

/// A line that would print as two could smuggle in a principal.
fn one_line(line: &str) -> Result<&str, ProtocolError> {
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(ProtocolError::Field { name: "line" });
    }
    Ok(line)
}

#[cfg(test)]
mod tests;
