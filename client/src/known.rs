//! The authorities that are known: what makes each the right one, and who logs in there.

use std::path::PathBuf;

use cotter_api::{Authority, Fingerprint, Place, Trust};
use serde::{Deserialize, Serialize};

use crate::home::{self, Home, HomeError};

/// An authority that somebody logs in at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Where it is.
    pub authority: Place,
    /// The fingerprint of its certificate.
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
    /// The authority, to be asked.
    ///
    /// # Errors
    /// What is wrong with the fingerprint or the file, in words.
    pub fn authority(&self) -> Result<Authority, String> {
        let trust = match (&self.fingerprint, &self.ca_file) {
            (Some(text), _) => {
                text.parse::<Fingerprint>().map(Trust::Fingerprint).map_err(|error| error.to_string())?
            }
            (None, Some(file)) => {
                Trust::of_file(&file.to_string_lossy()).map_err(|error| error.to_string())?
            }
            (None, None) => return Err("nothing says what makes the authority the right one".to_owned()),
        };
        Ok(Authority::new(self.authority.clone(), trust))
    }
}

/// All of them, the one of the last login first.
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

    /// The one of the last login.
    pub fn last(&self) -> Option<&Known> {
        self.0.first()
    }

    /// The one there.
    pub fn at(&self, place: &Place) -> Option<&Known> {
        self.0.iter().find(|known| known.authority == *place)
    }

    /// Remembers a login.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn remember(mut self, known: Known, home: &Home) -> Result<(), HomeError> {
        self.0.retain(|other| other.authority != known.authority);
        self.0.insert(0, known);
        let path = Self::path(home);
        let text = serde_json::to_string_pretty(&self);
        let text =
            text.map_err(|error| HomeError::Unreadable { path: path.clone(), why: error.to_string() })?;
        home::write(&path, &text)
    }
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
    fn each_authority_is_remembered_with_its_own_user_and_the_last_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(&directory.path().join("cotter")).unwrap();
        let load = || KnownAuthorities::load(&home).unwrap();
        assert_eq!(load().last(), None);
        for (authority, user) in [("a.example", "alice"), ("b.example", "bob"), ("a.example", "alicia")] {
            load().remember(known(authority, user), &home).unwrap();
        }
        assert_eq!(load().last(), Some(&known("a.example", "alicia")));
        assert_eq!(load().at(&"b.example".parse().unwrap()), Some(&known("b.example", "bob")));
        assert_eq!(load().0.len(), 2);
    }
}
