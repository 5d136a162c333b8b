//! Locks: who or what may not log in, for how long and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Address, Cidr};

/// What a lock is laid on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockTarget {
    /// A person: a key id within a cluster.
    User {
        /// The cluster's name.
        cluster: String,
        /// The certificates' key id.
        key_id: String,
    },
    /// A login name on the node, whoever uses it.
    Login(String),
    /// One session, by the id that listings show.
    Session(String),
    /// Certificates with this serial number.
    Serial {
        /// The number.
        serial: u64,
        /// Only those of this cluster; of every cluster if none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster: Option<String>,
    },
    /// Clients observed inside this network.
    Address(Cidr),
}

impl fmt::Display for LockTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { cluster, key_id } => write!(out, "user {cluster}/{key_id}"),
            Self::Login(login) => write!(out, "login {login}"),
            Self::Session(id) => write!(out, "session {id}"),
            Self::Serial { serial, cluster: None } => write!(out, "serial {serial}"),
            Self::Serial { serial, cluster: Some(cluster) } => write!(out, "serial {serial} of {cluster}"),
            Self::Address(cidr) => write!(out, "address {cidr}"),
        }
    }
}

/// A user that is not written `CLUSTER/KEYID`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a user: write CLUSTER/KEYID")]
pub struct LockTargetError(String);

impl LockTarget {
    /// A person written `CLUSTER/KEYID`. The first slash divides; a key id may hold more, a cluster's name holds none.
    pub fn user(text: &str) -> Result<Self, LockTargetError> {
        match text.split_once('/') {
            Some((cluster, key_id)) if !cluster.is_empty() && !key_id.is_empty() => {
                Ok(Self::User { cluster: cluster.to_owned(), key_id: key_id.to_owned() })
            }
            _ => Err(LockTargetError(text.chars().take(64).collect())),
        }
    }
}

/// What is known of a login or session that a lock may be laid on.
#[derive(Debug, Clone, Copy, Default)]
pub struct LockSubject<'a> {
    /// The certificate's cluster, if it has one.
    pub cluster: Option<&'a str>,
    /// The certificate's key id.
    pub key_id: Option<&'a str>,
    /// The certificate's serial number.
    pub serial: Option<u64>,
    /// The login name on the node.
    pub login: &'a str,
    /// The session's id, once there is one.
    pub session: Option<&'a str>,
    /// The observed address.
    pub address: Option<Address>,
}

/// A lock. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lock {
    /// The name by which it is listed and taken away.
    pub id: String,
    /// What it is laid on.
    pub target: LockTarget,
    /// When it ends of itself; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Why, in the administrator's words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When it was laid.
    #[serde(default)]
    pub created: u64,
}

impl Lock {
    /// Whether the lock still holds at `now`: its last second is the one before `until`.
    pub fn in_force(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether the lock holds at `now` and is laid on this login or session. What is not known matches nothing.
    pub fn matches(&self, subject: &LockSubject<'_>, now: u64) -> bool {
        self.in_force(now) && self.target.covers(subject)
    }
}

impl LockTarget {
    /// Whether this login or session is meant.
    pub fn covers(&self, subject: &LockSubject<'_>) -> bool {
        match self {
            Self::User { cluster, key_id } => {
                subject.cluster == Some(cluster.as_str()) && subject.key_id == Some(key_id.as_str())
            }
            Self::Login(login) => subject.login == login,
            Self::Session(id) => subject.session == Some(id.as_str()),
            Self::Serial { serial, cluster } => {
                subject.serial == Some(*serial)
                    && (cluster.is_none() || subject.cluster == cluster.as_deref())
            }
            Self::Address(cidr) => subject.address.is_some_and(|address| cidr.contains(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> LockSubject<'static> {
        LockSubject {
            cluster: Some("example.com"),
            key_id: Some("alice"),
            serial: Some(7),
            login: "deploy",
            session: Some("00ff"),
            address: Some("198.51.111.1".parse().unwrap()),
        }
    }

    #[test]
    fn a_user_is_cluster_and_key_id_together() {
        let user = |text| LockTarget::user(text).unwrap();
        assert!(user("example.com/alice").covers(&alice()));
        assert!(!user("other.com/alice").covers(&alice()));
        assert!(!user("example.com/bob").covers(&alice()));
        assert!(!user("example.com/alice").covers(&LockSubject { cluster: None, ..alice() }));
        assert!(!user("example.com/alice").covers(&LockSubject { key_id: None, ..alice() }));
        assert_eq!(user("c/a/b"), LockTarget::User { cluster: "c".into(), key_id: "a/b".into() });
        for text in ["", "alice", "/alice", "c/"] {
            assert!(LockTarget::user(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_other_targets_match_what_they_name() {
        let serial = |serial, cluster: Option<&str>| LockTarget::Serial {
            serial,
            cluster: cluster.map(str::to_owned),
        };
        for (target, meant) in [
            (LockTarget::Login("deploy".into()), true),
            (LockTarget::Login("alice".into()), false),
            (LockTarget::Session("00ff".into()), true),
            (LockTarget::Session("00fe".into()), false),
            (serial(7, None), true),
            (serial(8, None), false),
            (serial(7, Some("example.com")), true),
            (serial(7, Some("other.com")), false),
            (LockTarget::Address("198.51.111.0/24".parse().unwrap()), true),
            (LockTarget::Address("198.51.222.0/24".parse().unwrap()), false),
            (LockTarget::Address("::/0".parse().unwrap()), false),
        ] {
            assert_eq!(target.covers(&alice()), meant, "{target}");
            assert!(!target.covers(&LockSubject::default()), "{target}");
        }
    }

    #[test]
    fn a_lock_ends_at_its_second() {
        let lock = |until| Lock {
            id: "1".into(),
            target: LockTarget::Login("deploy".into()),
            until,
            reason: String::new(),
            created: 0,
        };
        assert!(lock(None).matches(&alice(), u64::MAX));
        assert!(lock(Some(100)).matches(&alice(), 99));
        assert!(!lock(Some(100)).matches(&alice(), 100));
    }

    #[test]
    fn locks_read_back_from_json() {
        for target in [
            LockTarget::user("example.com/alice").unwrap(),
            LockTarget::Login("root".into()),
            LockTarget::Session("00ff".into()),
            LockTarget::Serial { serial: u64::MAX, cluster: None },
            LockTarget::Serial { serial: 1, cluster: Some("c".into()) },
            LockTarget::Address("10.0.0.0/8".parse().unwrap()),
        ] {
            let lock =
                Lock { id: "7".into(), target, until: Some(5), reason: "lost laptop".into(), created: 1 };
            assert_eq!(serde_json::from_str::<Lock>(&serde_json::to_string(&lock).unwrap()).unwrap(), lock);
        }
    }

    #[test]
    fn targets_name_themselves() {
        assert_eq!(LockTarget::user("example.com/alice").unwrap().to_string(), "user example.com/alice");
        let serial = LockTarget::Serial { serial: 7, cluster: Some("example.com".into()) };
        assert_eq!(serial.to_string(), "serial 7 of example.com");
        assert_eq!(LockTarget::Address("10.0.0.0/8".parse().unwrap()).to_string(), "address 10.0.0.0/8");
    }
}
