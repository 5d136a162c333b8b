//! Why a knock opens nothing: one closed list, for counts and the audit trail. Whoever knocked is told nothing.

use cotter_knock::Outside;
use pinning::LoginReason;

/// What was wrong first, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no knock.
    Malformed,
    /// It is for no host key of this node.
    OtherNode,
    /// It is from the future.
    Early,
    /// It is too old, or from before the agent's start.
    Late,
    /// It has no MAC, and the node has a secret.
    NoMac,
    /// Its MAC is not that of its certificate in this fleet.
    WrongMac,
    /// It was taken before.
    Replayed,
    /// As much processor time as knocks may take is spent.
    Busy,
    /// Its certificate is not good for a login from there.
    Denied(LoginReason),
    /// It was not made by the certificate's key.
    Unproven,
    /// Its certificate has knocked too often.
    Often,
    /// No more knocks can be remembered.
    Full,
    /// The address could not be let in.
    NotOpened,
}

impl Refusal {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let denied = LoginReason::ALL.into_iter().filter(|reason| *reason != LoginReason::Allowed);
        [
            Self::Malformed,
            Self::OtherNode,
            Self::Early,
            Self::Late,
            Self::NoMac,
            Self::WrongMac,
            Self::Replayed,
            Self::Busy,
            Self::Unproven,
            Self::Often,
            Self::Full,
            Self::NotOpened,
        ]
        .into_iter()
        .chain(denied.map(Self::Denied))
    }

    /// The word for it: a denial's is that of a login's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::OtherNode => "other_node",
            Self::Early => "early",
            Self::Late => "late",
            Self::NoMac => "no_mac",
            Self::WrongMac => "wrong_mac",
            Self::Replayed => "replayed",
            Self::Busy => "busy",
            Self::Denied(reason) => reason.as_str(),
            Self::Unproven => "unproven",
            Self::Often => "often",
            Self::Full => "full",
            Self::NotOpened => "not_opened",
        }
    }
}

impl From<Outside> for Refusal {
    fn from(outside: Outside) -> Self {
        match outside {
            Outside::Early(_) => Self::Early,
            Outside::Late(_) => Self::Late,
        }
    }
}

impl From<cotter_knock::Refusal> for Refusal {
    fn from(refusal: cotter_knock::Refusal) -> Self {
        match refusal {
            cotter_knock::Refusal::Outside(outside) => outside.into(),
            cotter_knock::Refusal::Replayed => Self::Replayed,
            cotter_knock::Refusal::Often => Self::Often,
            cotter_knock::Refusal::Full => Self::Full,
        }
    }
}
