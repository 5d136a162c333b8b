//! Roles: what a user may do, and on what terms.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{LoginPattern, Mode, PinWidth};

/// What a login of the same person from elsewhere does to a session. "Elsewhere" is outside the session's pins.
/// Ordered by strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNewAddress {
    /// The session follows to the new address.
    Follow,
    /// Nothing: the session stays where it is pinned. The default.
    Keep,
    /// The session is cut.
    Cut,
}

/// Which of a session's endpoints are held to its pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PinEndpoints {
    /// None.
    Off,
    /// UDP sockets.
    Udp,
    /// UDP sockets and TCP listeners.
    All,
}

impl PinEndpoints {
    /// Where no role says anything: what roams is held.
    pub const DEFAULT: Self = Self::Udp;
}

/// `spec.options`, as far as it has an effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleOptions {
    /// A pin is mandatory.
    pub pin_source_ip: bool,
    /// How wide a mandatory pin may be.
    pub pin_width: PinWidth,
    /// Bounds the validity of certificates that our authority issues.
    pub max_session_ttl: Option<Duration>,
    /// Sessions end with their certificate.
    pub disconnect_expired_cert: bool,
    /// What a login from elsewhere does, if the role says so.
    pub on_new_address: Option<OnNewAddress>,
    /// Which endpoints are held to the pin, if the role says so.
    pub pin_endpoints: Option<PinEndpoints>,
    /// Our authority asks for a second factor.
    pub require_second_factor: bool,
    /// The mode for users of this role, if the role names one.
    pub mode: Option<Mode>,
}

/// A field that a role file sets although it has no effect here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Where it stands, such as `spec.options.forward_agent`.
    pub field: String,
    /// Line in the file, from 1.
    pub line: u64,
    /// Column in the line, from 1.
    pub column: u64,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// `metadata.name`.
    pub name: String,
    /// The line of its file at which it begins, from 1.
    pub line: u64,
    /// `spec.options`.
    pub options: RoleOptions,
    /// `spec.allow.logins`: the logins it allows; `None` says nothing about logins, an empty list allows none.
    pub allow_logins: Option<Vec<LoginPattern>>,
    /// `spec.deny.logins`: logins it denies whatever other roles say.
    pub deny_logins: Vec<LoginPattern>,
    /// Fields that are known but do nothing here, in the order of the file.
    pub without_effect: Vec<Unused>,
}
