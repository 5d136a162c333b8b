//! The rules of IP pinning: who a certificate speaks for, which roles count, and from where it may be used.
//!
//! The crate does no I/O and knows no clock: callers hand in text, addresses and times. [`Policy::judge`] is the one
//! place where a login is allowed or denied; `check.rs` reads as the list of its rules in their order.

#![forbid(unsafe_code)]

mod address;
mod certificate;
mod check;
mod cluster;
mod duration;
mod forwarded_for;
mod identity;
mod judgement;
mod lock;
mod login_rule;
mod mapping;
mod mode;
mod pin;
mod policy;
mod principal;
mod proxy_header;
mod reason;
mod role;
mod role_field;
mod role_file;
mod role_map;
mod role_source;
#[cfg(test)]
mod test_certificate;
mod wire;
mod yaml;

pub use address::{Address, AddressError, How, HowError, Observed};
pub use certificate::{Certificate, MAX_CERTIFICATE_TEXT};
pub use check::{Knocker, Login};
pub use cluster::{CaError, CaKey, Cluster, OnExpiry, RolesFrom};
pub use duration::parse_duration;
pub use forwarded_for::{ForwardedForError, forwarded_for};
pub use identity::Identity;
pub use judgement::{Denial, Judgement, Terms, Verdict};
pub use lock::{Lock, LockSubject, LockTarget, LockTargetError};
pub use login_rule::{LoginPattern, logins_of};
pub use mode::{Mode, ModeError};
pub use pin::{Cidr, CidrError, PinError, PinWidth, Pins};
pub use policy::{Policy, PolicyError};
pub use proxy_header::{ProxiedClient, ProxyHeader, ProxyHeaderError};
pub use reason::{LoginReason, ReasonError};
pub use role::{OnNewAddress, PinEndpoints, Role, RoleOptions, Unused};
pub use role_file::{MAX_ROLE_FILE, RoleError};
pub use role_map::{RoleMap, RoleMapEntry, RoleMapError};
