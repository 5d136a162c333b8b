//! The modes: whether a verdict is carried out, only reported, or not asked for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What follows from a denial or a drop. Ordered by strictness: `Off < Audit < Enforce`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is judged.
    Off,
    /// What would have been denied or dropped is counted and reported; nothing is denied or dropped.
    Audit,
    /// Verdicts are carried out.
    Enforce,
}

impl Mode {
    /// All modes, the most lenient first.
    pub const ALL: [Self; 3] = [Self::Off, Self::Audit, Self::Enforce];

    /// The mode as users type it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A text that names no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a mode; the modes are enforce, audit and off")]
pub struct ModeError(String);

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let unknown = || ModeError(text.chars().take(64).collect());
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_back_and_are_ordered_by_strictness() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse::<Mode>().unwrap(), mode);
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
        }
        assert!(Mode::Off < Mode::Audit && Mode::Audit < Mode::Enforce);
        assert_eq!(
            "Enforce".parse::<Mode>().unwrap_err().to_string(),
            "\"Enforce\" is not a mode; the modes are enforce, audit and off"
        );
    }
}
