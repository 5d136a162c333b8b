//! PAM's side: a profile of pam-auth-update, which keeps the files that packages own out of it.
//!
//! The hook's line belongs behind pam_systemd and before any pam_env that users have a say in. Where `/etc/pam.d/sshd`
//! includes common-session, the end of that is such a place, and `pam-auth-update` writes it. The line in front of the
//! hook's keeps other services (login, su, sudo) away from it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::Error;
use crate::command;

/// What distributions built on Debian have.
const UPDATE: &str = "/usr/sbin/pam-auth-update";
/// The package's profile, off unless asked for.
const PROFILE: &str = "/usr/share/pam-configs/cotter";
/// The file that the profile changes.
pub(super) const COMMON: &str = "/etc/pam.d/common-session";
/// Where the part that pam-auth-update writes ends; a profile of the lowest priority comes last in it.
const END: &str = "# end of pam-auth-update config";
/// How the hook's line is known.
const HOOK: &str = "cotter-hook";

/// The session's lines of the profile, as pam-auth-update writes them.
fn lines(profile: &str) -> Vec<String> {
    let session = profile.lines().skip_while(|line| line.trim() != "Session:").skip(1);
    session
        .take_while(|line| line.starts_with('\t'))
        .map(|line| format!("session\t{}", line.trim_start()))
        .collect()
}

/// What common-session becomes; itself if the hook is there.
pub(super) fn with_hook(common: &str) -> Result<String, Error> {
    if common.contains(HOOK) {
        return Ok(common.to_owned());
    }
    let profile = fs::read_to_string(PROFILE);
    let profile = profile
        .map_err(|error| Error::Stop(format!("{PROFILE}: {error}; is the package cotter installed?")))?;
    let Some(end) = common.find(END) else {
        return Err(Error::Stop(format!(
            "{COMMON} is not kept by pam-auth-update: put `session include cotter` into /etc/pam.d/sshd by hand, see \
             /usr/share/cotter/examples/pam.d/cotter"
        )));
    };
    let lines: String = lines(&profile).into_iter().map(|line| line + "\n").collect();
    Ok(format!("{}{lines}{}", &common[..end], &common[end..]))
}

/// What common-session becomes without the hook.
pub(super) fn without_hook(common: &str) -> String {
    let ours =
        |line: &str| line.contains(HOOK) || line.contains("pam_succeed_if.so quiet service notin sshd");
    common.split_inclusive('\n').filter(|line| !ours(line)).collect()
}

/// Whether common-session runs the hook.
pub(super) fn is_on() -> bool {
    fs::read_to_string(COMMON).is_ok_and(|text| text.contains(HOOK))
}

/// Switches the profile on or off.
pub(super) fn switch(on: bool) -> Result<(), Error> {
    let option = if on { "--enable" } else { "--remove" };
    let output = command::program(UPDATE)
        .args(["--package", option, "cotter"])
        .envs(env::vars_os().filter(|(name, _)| is_debconfs(name)))
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::Program { program: UPDATE, what: error.to_string() })?;
    if output.status.success() && is_on() == on {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let what = if said.is_empty() { format!("{COMMON} is as before") } else { said };
    Err(Error::Program { program: UPDATE, what })
}

/// Whether debconf, by which pam-auth-update asks, needs this of the caller's environment: in a package's script it
/// talks to the one that is there.
fn is_debconfs(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["DEBIAN_HAS_FRONTEND", "HOME", "TERM"].contains(&&*name)
        || ["DEBCONF_", "DPKG_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Every file that pam-auth-update may write.
pub(super) fn files() -> Vec<PathBuf> {
    let parts = ["account", "auth", "password", "session", "session-noninteractive"];
    let (pam, state) = (Path::new("/etc/pam.d"), Path::new("/var/lib/pam"));
    let common = parts.iter().map(|part| pam.join(format!("common-{part}")));
    let known = parts.iter().chain(&["seen"]).map(|part| state.join(part));
    // It puts what it replaces aside under this name.
    let aside = parts.iter().map(|part| pam.join(format!("common-{part}.pam-old")));
    common.chain(known).chain(aside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_callers_environment_only_what_is_debconfs_is_kept() {
        for kept in ["DEBCONF_REDIR", "DEBIAN_HAS_FRONTEND", "DPKG_MAINTSCRIPT_PACKAGE", "HOME", "TERM"] {
            assert!(is_debconfs(OsStr::new(kept)), "{kept}");
        }
        for dropped in
            ["PATH", "PERL5LIB", "PERL5OPT", "LD_PRELOAD", "XDEBCONF_", "HOMEDIR", "DEBIAN_FRONTEND"]
        {
            assert!(!is_debconfs(OsStr::new(dropped)), "{dropped}");
        }
    }

    #[test]
    fn the_profile_keeps_other_services_away_and_comes_last() {
        let profile = include_str!("../../../packaging/pam/profile");
        assert_eq!(
            lines(profile),
            [
                "session\t[success=1 default=ignore]\tpam_succeed_if.so quiet service notin sshd",
                "session\trequired\tpam_exec.so quiet stdout type=open_session /usr/lib/cotter/cotter-hook pam",
            ]
        );
        assert!(profile.contains("\nDefault: no\n") && profile.contains("\nPriority: -64\n"));
    }
}
