//! The shape of an audit event: one JSON object a decision.

use pinning::{LoginReason, Mode};
use serde::{Deserialize, Serialize};

/// One decision, as it is written to the journal, the file and `events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// The node's host name.
    pub node: String,
    /// The mode in force.
    pub mode: Mode,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
    /// Whom it concerns; absent for events of the node itself.
    #[serde(flatten)]
    pub subject: Subject,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The agent is ready.
    AgentStarted {
        /// What it found: `fresh`, `same-version`, …
        takeover: String,
        /// Sessions that it knows.
        sessions: usize,
    },
    /// The agent ends; the kernel goes on enforcing.
    AgentStopped,
    /// A login was let in.
    LoginAllowed {
        /// `allowed`, or why it would have been denied in enforce mode.
        reason: LoginReason,
        /// It was let in by a break-glass key.
        #[serde(default)]
        break_glass: bool,
    },
    /// A login was denied, or would have been in enforce mode.
    LoginDenied {
        /// Why.
        reason: LoginReason,
        /// At which step: `principals` (before the key is proven) or `session`.
        step: Step,
        /// True in audit mode: it was let in all the same.
        overruled: bool,
    },
    /// More denials of one source than are reported one by one.
    DenialsSuppressed {
        /// How many since the last report.
        count: u64,
    },
    /// An address was let in for a knock.
    KnockAccepted {
        /// For how many seconds, unless a session comes of it.
        seconds: u64,
    },
    /// A knock with a certificate of a known authority was refused, unanswered.
    KnockRefused {
        /// Why: `replayed`, `unproven`, …, or the reason why a login would be denied.
        reason: String,
    },
    /// More such knocks of one source, or of all, than are written one by one.
    KnocksSuppressed {
        /// How many since the last report.
        count: u64,
    },
    /// More reported drops of one source, of packets without a session, than are written one by one.
    DropsSuppressed {
        /// How many since the last report.
        count: u64,
    },
    /// Lines that the journal or the event log was too slow for.
    LinesLost {
        /// How many since the last report.
        count: u64,
    },
    /// A session is in the kernel's maps.
    SessionOpened {
        /// The session's id.
        session: String,
    },
    /// A session's traffic was ended.
    SessionCut {
        /// The session's id.
        session: String,
        /// Why: `lock`, `expired`, `command`, `new_address`.
        cause: CutCause,
        /// Sockets that it closes, a second later at most: the session's terminals may be told first.
        sockets: usize,
        /// True in audit mode: nothing is dropped or closed.
        overruled: bool,
    },
    /// A session without a connection is pinned to where its person's latest login is.
    SessionFollowed {
        /// The session's id.
        session: String,
    },
    /// A session's last process or socket is gone.
    SessionClosed {
        /// The session's id.
        session: String,
        /// Packets that were dropped of it.
        dropped: u64,
    },
    /// Packets of a session, or of no session, were dropped.
    PacketsDropped {
        /// The session's id, if they belong to one.
        session: Option<String>,
        /// The packet reason.
        reason: String,
        /// How many since the last report; 1 for the first.
        count: u64,
        /// True in audit mode: they were passed all the same.
        overruled: bool,
    },
    /// A connection to a login port without a session was ended.
    ConnectionCut {
        /// Why.
        cause: String,
    },
    /// A source is kept out for a while.
    Penalised {
        /// For how many seconds.
        seconds: u64,
    },
    /// A lock was set.
    Locked {
        /// Its id.
        lock: String,
        /// Whom it locks, in words.
        target: String,
        /// Why, as the administrator said.
        comment: String,
    },
    /// A lock was taken away or ran out.
    Unlocked {
        /// Its id.
        lock: String,
    },
    /// The mode changed.
    ModeChanged {
        /// From.
        from: Mode,
        /// To.
        to: Mode,
        /// How: `command`, `configuration`, `confirmation ran out`.
        by: String,
    },
    /// A configuration came into force.
    Reloaded {
        /// Its hash.
        hash: String,
    },
    /// A configuration was refused; the old one stays in force.
    ReloadFailed {
        /// Why.
        error: String,
    },
    /// A policy of the authority that the node follows came into force.
    PolicyFollowed {
        /// Its number.
        version: u64,
        /// Locks that it has.
        locks: usize,
        /// Sessions that they cut.
        cut: usize,
        /// Clusters and roles of it that do not count, since the node's own files say something else.
        left_out: Vec<String>,
    },
    /// A policy was refused; the last one stays in force.
    PolicyRefused {
        /// Why.
        error: String,
    },
    /// A program was attached to an interface.
    Attached {
        /// The interface.
        interface: String,
        /// How: `xdp`, `xdp-generic`, `tcx`, `clsact`.
        method: String,
    },
    /// Programs of others come before ours on an interface, and may decide alone until ours is first again.
    Overtaken {
        /// The interface.
        interface: String,
        /// How ours is attached: `tcx`, `clsact`.
        method: String,
        /// The programs and filters in front, in words.
        by: Vec<String>,
    },
    /// Ours comes first again on an interface.
    FirstAgain {
        /// The interface.
        interface: String,
        /// How ours is attached: `tcx`, `clsact`.
        method: String,
    },
    /// An attachment is gone or could not be made.
    AttachmentLost {
        /// The interface.
        interface: String,
        /// What is known of the cause.
        error: String,
    },
    /// What sessions open for others to reach is not held to their pins.
    EndpointsLost {
        /// Why.
        error: String,
    },
    /// What sessions open for others to reach is held to their pins again.
    EndpointsHeld,
}

impl What {
    /// The word for it, the same as in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AgentStarted { .. } => "agent_started",
            Self::AgentStopped => "agent_stopped",
            Self::LoginAllowed { .. } => "login_allowed",
            Self::LoginDenied { .. } => "login_denied",
            Self::DenialsSuppressed { .. } => "denials_suppressed",
            Self::KnockAccepted { .. } => "knock_accepted",
            Self::KnockRefused { .. } => "knock_refused",
            Self::KnocksSuppressed { .. } => "knocks_suppressed",
            Self::DropsSuppressed { .. } => "drops_suppressed",
            Self::LinesLost { .. } => "lines_lost",
            Self::SessionOpened { .. } => "session_opened",
            Self::SessionCut { .. } => "session_cut",
            Self::SessionFollowed { .. } => "session_followed",
            Self::SessionClosed { .. } => "session_closed",
            Self::PacketsDropped { .. } => "packets_dropped",
            Self::ConnectionCut { .. } => "connection_cut",
            Self::Penalised { .. } => "penalised",
            Self::Locked { .. } => "locked",
            Self::Unlocked { .. } => "unlocked",
            Self::ModeChanged { .. } => "mode_changed",
            Self::Reloaded { .. } => "reloaded",
            Self::ReloadFailed { .. } => "reload_failed",
            Self::PolicyFollowed { .. } => "policy_followed",
            Self::PolicyRefused { .. } => "policy_refused",
            Self::Attached { .. } => "attached",
            Self::Overtaken { .. } => "overtaken",
            Self::FirstAgain { .. } => "first_again",
            Self::AttachmentLost { .. } => "attachment_lost",
            Self::EndpointsLost { .. } => "endpoints_lost",
            Self::EndpointsHeld => "endpoints_held",
        }
    }
}

/// The step of a login at which it was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Before sshd: a trusted relay's connection.
    Relay,
    /// AuthorizedPrincipalsCommand: the key is not proven.
    Principals,
    /// PAM open_session: the key is proven.
    Session,
}

impl Step {
    /// The word that metrics use.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Principals => "principals",
            Self::Session => "session",
        }
    }
}

/// Why a session was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutCause {
    /// A lock matches it.
    Lock,
    /// Its certificate ended.
    Expired,
    /// `cotter-agent cut`.
    Command,
    /// Its user logged in from elsewhere.
    NewAddress,
    /// Its user's session on the bastion that it came by is over.
    Relay,
}

/// Whom an event concerns, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The cluster whose CA signed the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The certificate's key id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The account on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The certificate's serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    /// The CA key's SHA-256 fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The local roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The pinned networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinned: Vec<String>,
    /// The observed address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// How it was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_how: Option<String>,
}

impl Subject {
    /// A person is a cluster and a key id together; none if nobody is known.
    #[must_use]
    pub fn person(&self) -> Option<String> {
        Some(format!("{}/{}", self.cluster.as_ref()?, self.user.as_ref()?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_named_as_its_json_is_tagged() {
        // Whatever an event has beside its tag.
        let mut sample = json!({
            "takeover": "fresh", "sessions": 1, "reason": "allowed", "step": "session", "overruled": false, "count": 1,
            "session": "1", "cause": "lock", "sockets": 1, "dropped": 1, "seconds": 1, "lock": "1", "target": "all",
            "comment": "", "from": "audit", "to": "enforce", "by": [], "hash": "", "error": "", "interface": "eth0",
            "method": "xdp", "version": 1, "locks": 1, "cut": 1,
            "left_out": [],
        });
        // serde names all tags when it meets one that it does not know.
        let unknown = serde_json::from_value::<What>(json!({"event": "?"})).unwrap_err().to_string();
        let tags: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
        assert!(tags.len() > 10, "{unknown}");
        for tag in tags {
            sample["event"] = json!(tag);
            sample["by"] = if tag == "overtaken" { json!([]) } else { json!("command") };
            let what: What = serde_json::from_value(sample.clone()).unwrap();
            assert_eq!(what.name(), tag);
        }
    }
}
