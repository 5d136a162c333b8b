//! What the check hands back: a verdict, whom it is about, and on what terms.

use serde::{Serialize, Serializer};

use crate::{Identity, LoginReason, Mode, Observed, OnNewAddress, PinEndpoints, Pins};

/// The longest sentence on a case, in characters: a certificate's lists may be long, and events are kept.
const MAX_DETAIL: usize = 500;

/// A denial: the reason, and a sentence on this very case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Which rule was broken.
    pub reason: LoginReason,
    /// How, naming the role, principal, network or option in question.
    pub detail: String,
}

impl Denial {
    pub(crate) fn new(reason: LoginReason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
            detail.truncate(end);
            detail.push('…');
        }
        Self { reason, detail }
    }
}

/// What the check says of a login.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The login may go on.
    Allow,
    /// It may not, for this reason.
    Deny(LoginReason),
}

impl Verdict {
    /// Whether the login may go on.
    pub fn is_allow(self) -> bool {
        self == Self::Allow
    }

    /// The reason, [`LoginReason::Allowed`] for an allowed login.
    pub fn reason(self) -> LoginReason {
        match self {
            Self::Allow => LoginReason::Allowed,
            Self::Deny(reason) => reason,
        }
    }
}

/// On what terms an allowed login goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What AuthorizedPrincipalsCommand prints: the login, or the matching line of the principals file with its options.
    pub principal_line: String,
    /// When the session ends with its certificate, in Unix seconds; `None` if it outlives it.
    pub ends_at: Option<u64>,
    /// What a login of the same person from elsewhere does to this session: the strictest of what the roles say.
    pub on_new_address: OnNewAddress,
    /// Which of the session's endpoints are held to its pins: the most that a role says.
    pub pin_endpoints: PinEndpoints,
    /// The strictest mode that a role names, if one does.
    pub mode: Option<Mode>,
    /// The pins, the narrowest network around the observed address first.
    pub pins: Option<Pins>,
}

/// The outcome of [`Policy::judge`](crate::Policy::judge). Serialises to what `check-cert --json` prints:
/// `{"verdict","reason","cluster","user","roles","pinned","observed"}`.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Allow or deny.
    pub verdict: Verdict,
    /// A sentence on this very case, for people; it names the role, principal or network in question.
    pub detail: String,
    /// Whom the certificate speaks for, as far as it could be read. **Only a claim** unless the verdict was reached
    /// behind the signature check.
    pub identity: Option<Identity>,
    /// The roles that count here, after mapping; empty if the check did not come that far.
    pub roles: Vec<String>,
    /// The certificate's pins, if it has any that can be read.
    pub pinned: Option<Pins>,
    /// The observed address, as handed in.
    pub observed: Option<Observed>,
    /// The id of the lock that denied the login.
    pub lock: Option<String>,
    /// The terms, of an allowed login only.
    pub terms: Option<Terms>,
}

impl Judgement {
    /// The same as a JSON value.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
}

impl Serialize for Judgement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            verdict: &'static str,
            reason: LoginReason,
            cluster: Option<&'a str>,
            user: Option<&'a str>,
            roles: &'a [String],
            pinned: Vec<String>,
            observed: Option<String>,
        }
        let identity = self.identity.as_ref();
        let pinned = self.pinned.as_ref().map_or(&[][..], Pins::networks);
        Shape {
            verdict: if self.verdict.is_allow() { "allow" } else { "deny" },
            reason: self.verdict.reason(),
            cluster: identity.and_then(|identity| identity.cluster.as_deref()),
            user: identity.map(|identity| identity.key_id.as_str()),
            roles: &self.roles,
            pinned: pinned.iter().map(ToString::to_string).collect(),
            observed: self.observed.as_ref().map(|observed| observed.address.to_string()),
        }
        .serialize(serializer)
    }
}
