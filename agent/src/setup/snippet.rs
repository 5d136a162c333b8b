//! The files that are Cotter's own in others' directories: what stands in them, and whether one is ours to remove.

use std::fs;
use std::path::Path;

/// The first line of each; by it they are known.
const MARK: &str = "# Made by `cotter-agent setup sshd`; `cotter-agent setup sshd --undo` takes it away.";
/// For sshd. Of most keywords the first value counts, and this name comes before those of distributions.
pub(super) const SSHD: &str = "/etc/ssh/sshd_config.d/00-cotter.conf";
/// Keys that get in whatever happens.
pub(crate) const BREAK_GLASS: &str = "/etc/cotter/break-glass.keys";
/// What sshd asks.
pub(crate) const COMMAND: &str = "/usr/lib/cotter/cotter-hook principals --user %u --cert %k";
/// In the agent's `agent.d`.
pub(super) const AGENT: &str = "00-setup-sshd.toml";

/// What sshd's snippet depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snippet {
    /// Where keys are looked for, beside the break-glass file; empty for nowhere else.
    pub(super) keys_files: String,
    /// The authorities' keys, if sshd has no file of them yet.
    pub(super) user_ca: Option<String>,
    /// Who sshd runs the hook as.
    pub(super) command_user: &'static str,
}

impl Snippet {
    /// The text of sshd's snippet.
    pub(super) fn text(&self) -> String {
        let user_ca =
            self.user_ca.as_ref().map(|file| format!("TrustedUserCAKeys {file}\n\n")).unwrap_or_default();
        format!(
            "{MARK}\n\n{user_ca}\
             # Asked for every certificate that a client shows: prints the principal that it may log in as, or nothing.\n\
             AuthorizedPrincipalsCommand {COMMAND}\n\
             AuthorizedPrincipalsCommandUser {}\n\
             # It would pass the command by; the agent reads it as its principals_file.\n\
             AuthorizedPrincipalsFile none\n\n\
             # Keys in the break-glass file get in whatever happens to Cotter; of others, other_logins in agent.toml decides.\n\
             AuthorizedKeysFile {}\n",
            self.command_user,
            authorized_keys_files(&self.keys_files),
        )
    }
}

/// The value of `AuthorizedKeysFile`: these files, if any, and the break-glass file.
pub(super) fn authorized_keys_files(keys_files: &str) -> String {
    format!("{keys_files} {BREAK_GLASS}").trim_start().to_owned()
}

/// The text of the agent's file: the principals files that sshd looked into so far.
pub(super) fn agent(principals_file: &str) -> String {
    let principals_file = toml::Value::from(principals_file);
    format!(
        "{MARK}\n\n# What sshd had as AuthorizedPrincipalsFile; for clusters that do not name their own.\n\
         principals_file = {principals_file}\n"
    )
}

/// Whether a file is one of ours; a missing one is not.
pub(super) fn is_ours(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.starts_with(MARK))
}

/// Who sshd is to run the hook as: the package's own user, where that exists.
pub(super) fn command_user() -> &'static str {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if users.lines().any(|line| line.starts_with("_cotter:")) { "_cotter" } else { "nobody" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_keys_stay_beside_the_break_glass_file_unless_told_otherwise() {
        let snippet = |keys: &str| Snippet { keys_files: keys.into(), user_ca: None, command_user: "nobody" };
        let kept = snippet(".ssh/authorized_keys .ssh/authorized_keys2").text();
        assert!(kept.contains(
            "\nAuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 /etc/cotter/break-glass.keys\n"
        ));
        assert!(!kept.contains("TrustedUserCAKeys"));
        assert!(snippet("").text().contains("\nAuthorizedKeysFile /etc/cotter/break-glass.keys\n"));
    }

    #[test]
    fn the_agents_file_is_toml_whatever_the_path_is() {
        let table: toml::Table = agent("/etc/ssh/a \"b\"\\%u").parse().unwrap();
        assert_eq!(table["principals_file"].as_str(), Some("/etc/ssh/a \"b\"\\%u"));
    }
}
