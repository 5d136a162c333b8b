//! The authorities that are known: what makes each the right one, and who logs in there.

use std::path::PathBuf;

use cotter_api::{Authority, Fingerprint, Place, Trust};
use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;
use crate::home::{self, Home, HomeError};

/// An authority that somebody logs in at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Where it is.
    pub authority: Place,
    /// The fingerprint of its certificate. Where neither this nor the next is set, the fleet says what makes it the right one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Or who vouches for it: a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Who logs in there.
    pub user: String,
    /// The key is kept in the ssh-agent.
    #[serde(default)]
    pub ssh_agent: bool,
}

impl Known {
    /// The authority, to be asked. What the fleet says counts where nothing else does.
    ///
    /// # Errors
    /// What is wrong with the fingerprint or the file, in words.
    pub fn authority(&self, fleet: &Fleet) -> Result<Authority, String> {
        let own = (self.fingerprint.as_ref(), self.ca_file.as_ref());
        let fleets = || fleet.vouches_for(&self.authority).unwrap_or_default();
        let trust = match if own == (None, None) { fleets() } else { own } {
            (Some(text), _) => {
                text.parse::<Fingerprint>().map(Trust::Fingerprint).map_err(|error| error.to_string())?
            }
            (None, Some(file)) => {
                Trust::of_file(&file.to_string_lossy()).map_err(|error| error.to_string())?
            }
            (None, None) => {
                let place = &self.authority;
                return Err(format!(
                    "nothing says what makes {place} the right one any more: cotter login --fingerprint SHA256:…"
                ));
            }
        };
        Ok(Authority::new(self.authority.clone(), trust))
    }
}

/// All of them, the usual one first: that of the last `cotter login`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAuthorities(Vec<Known>);

impl KnownAuthorities {
    fn path(home: &Home) -> PathBuf {
        home.path().join("authorities.json")
    }

    /// Reads what was remembered.
    ///
    /// # Errors
    /// That it cannot be read.
    pub fn load(home: &Home) -> Result<Self, HomeError> {
        let path = Self::path(home);
        let Some(text) = home::read(&path)? else { return Ok(Self::default()) };
        serde_json::from_str(&text).map_err(|error| HomeError::Unreadable { path, why: error.to_string() })
    }

    /// The usual one; none where only the fleet said what makes it the right one, and does so no more: it has moved.
    pub fn usual(&self, fleet: &Fleet) -> Option<&Known> {
        let is_known = |it: &&Known| {
            it.fingerprint.is_some() || it.ca_file.is_some() || fleet.vouches_for(&it.authority).is_some()
        };
        self.0.first().filter(is_known)
    }

    /// The one there.
    pub fn at(&self, place: &Place) -> Option<&Known> {
        self.0.iter().find(|known| known.authority == *place)
    }

    /// Remembers a login, beside whatever other processes have remembered meanwhile; for who has the [turn](Home::turn).
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn remember(known: Known, becomes: Becomes, home: &Home) -> Result<(), HomeError> {
        let mut all = Self::load(home)?;
        let before = all.0.iter().position(|other| other.authority == known.authority);
        let at = match becomes {
            Becomes::Usual => 0,
            Becomes::NoOther => before.unwrap_or(all.0.len()),
        };
        if all.0.get(at) == Some(&known) {
            return Ok(());
        }
        if let Some(before) = before {
            all.0.remove(before);
        }
        all.0.insert(at, known);
        let path = Self::path(home);
        let text = serde_json::to_string_pretty(&all);
        let text =
            text.map_err(|error| HomeError::Unreadable { path: path.clone(), why: error.to_string() })?;
        home::write(&path, &text)
    }
}

/// What a login makes of an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Becomes {
    /// The usual one.
    Usual,
    /// What it is: another stays the usual one.
    NoOther,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(authority: &str, user: &str) -> Known {
        Known {
            authority: authority.parse().unwrap(),
            fingerprint: Some("SHA256:00".into()),
            ca_file: None,
            user: user.into(),
            ssh_agent: false,
        }
    }

    #[test]
    fn each_authority_is_remembered_with_its_own_user_and_that_of_the_last_login_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(&directory.path().join("cotter")).unwrap();
        let load = || KnownAuthorities::load(&home).unwrap();
        assert_eq!(load().usual(&Fleet::default()), None);
        for (authority, user) in [("a.example", "alice"), ("b.example", "bob"), ("a.example", "alicia")] {
            KnownAuthorities::remember(known(authority, user), Becomes::Usual, &home).unwrap();
        }
        assert_eq!(load().usual(&Fleet::default()), Some(&known("a.example", "alicia")));
        for (authority, user) in [("b.example", "bobby"), ("c.example", "carol")] {
            KnownAuthorities::remember(known(authority, user), Becomes::NoOther, &home).unwrap();
        }
        assert_eq!(load().usual(&Fleet::default()), Some(&known("a.example", "alicia")));
        assert_eq!(load().at(&"b.example".parse().unwrap()), Some(&known("b.example", "bobby")));
        assert_eq!(load().0.len(), 3);
    }

    #[test]
    fn what_the_fleet_says_counts_where_nothing_else_does() {
        let fleet = |place: &str| Fleet {
            authority: Some(place.parse().unwrap()),
            fingerprint: Some(format!("SHA256:{}", "00".repeat(32))),
            ..Fleet::default()
        };
        let unsaid = Known { fingerprint: None, ..known("a.example", "alice") };
        assert!(unsaid.authority(&fleet("a.example")).is_ok());
        assert!(unsaid.authority(&fleet("b.example")).is_err());
        let own = Known { fingerprint: Some("none".into()), ..unsaid };
        assert!(own.authority(&fleet("a.example")).is_err());
    }
}
