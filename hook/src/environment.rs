//! Whether the environment is PAM's alone.
//!
//! `pam_env` with `user_readenv` copies a file of the user's into it. Where it stands before the hook, that user says
//! what PAM seems to say. The order in `/etc/pam.d/sshd` must keep that from happening; this notices where it does not.

use std::env;
use std::ffi::{OsStr, OsString};

/// The first sign that somebody else than PAM has had a say, for the log.
pub(crate) fn tampering() -> Option<String> {
    find(env::vars_os().map(|(name, _)| name))
}

/// pam_exec adds its own variables behind PAM's, whatever stands there: a name that is there twice was there before.
fn find(names: impl Iterator<Item = OsString>) -> Option<String> {
    let names: Vec<OsString> = names.collect();
    let is_ours = |name: &OsStr| name.as_encoded_bytes().starts_with(b"PAM_") || name == "SSH_AUTH_INFO_0";
    for (index, name) in names.iter().enumerate() {
        if name.as_encoded_bytes().starts_with(b"LD_") {
            return Some(format!("{} is set", name.to_string_lossy()));
        }
        if is_ours(name) && names[..index].contains(name) {
            return Some(format!("{} is there twice", name.to_string_lossy()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Option<String> {
        find(names.iter().map(OsString::from))
    }

    #[test]
    fn pams_own_environment_is_left_in_peace() {
        assert_eq!(found(&["SSH_AUTH_INFO_0", "PAM_TYPE", "PAM_USER", "LANG", "LANG"]), None);
    }

    #[test]
    fn what_a_user_has_added_is_noticed() {
        assert_eq!(found(&["PAM_TYPE", "PAM_USER", "PAM_TYPE"]).unwrap(), "PAM_TYPE is there twice");
        assert_eq!(found(&["LD_PRELOAD", "PAM_TYPE"]).unwrap(), "LD_PRELOAD is set");
    }
}
