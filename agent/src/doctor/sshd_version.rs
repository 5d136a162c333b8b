//! OpenSSH's version.

use super::{Finding, Node};
use crate::setup::sshd;

const ID: &str = "sshd-version";
/// The oldest that Cotter is tested with.
const OLDEST: (u32, u32) = (9, 2);

pub(super) fn findings(_: &Node) -> Vec<Finding> {
    vec![match sshd::version() {
        Ok(version) => of(&version),
        Err(error) => {
            let what = format!("which OpenSSH this is cannot be told: {error}");
            Finding::warning(ID, what, "sshd -V must say it; install OpenSSH 9.2 or later")
        }
    }]
}

/// `version` as sshd says it: `OpenSSH_9.2p1`.
fn of(version: &str) -> Finding {
    let numbers = version.strip_prefix("OpenSSH_").unwrap_or_default();
    let mut numbers = numbers.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Finding::ok(ID, version),
        _older => Finding::warning(
            ID,
            format!("{version} is older than any that Cotter is tested with"),
            "install OpenSSH 9.2 or later",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn versions_are_compared_as_numbers() {
        for version in ["OpenSSH_9.2p1", "OpenSSH_9.10p1", "OpenSSH_10.0p2"] {
            assert_eq!(of(version).level, Level::Ok, "{version}");
        }
        for version in ["OpenSSH_9.1p1", "OpenSSH_8.4p1", "OpenSSH_for_others"] {
            assert_eq!(of(version).level, Level::Warning, "{version}");
        }
    }
}
