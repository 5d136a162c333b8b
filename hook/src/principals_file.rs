//! Principals as plain sshd finds them: the login name, or the lines of a file (`AuthorizedPrincipalsFile` of
//! sshd_config(5)).

use std::path::PathBuf;

use crate::trusted_file::{self, FileError};

/// The most bytes of a principals file that are read; what is passed on must fit into one message.
const MAX_FILE: u64 = 48 * 1024;

/// Why a principals file gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum PrincipalsError {
    /// The login name is not one that can stand in a path.
    #[error("login name {0:?} means more than itself in a path")]
    Name(String),
    /// The template is not an absolute path, or has a token other than `%u` and `%%`.
    #[error("{0}: not an absolute path with no tokens but %u and %%")]
    Template(String),
    /// The file is missing, or not believed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The content of the file that `template` names for a user.
///
/// # Errors
/// There is no such file, or it could have been written by somebody else than root.
pub fn read(template: &str, user: &str) -> Result<Vec<u8>, PrincipalsError> {
    if !is_plain(user) {
        return Err(PrincipalsError::Name(user.chars().take(64).collect()));
    }
    let path = expand(template, user).ok_or_else(|| PrincipalsError::Template(template.to_owned()))?;
    Ok(trusted_file::read(&path, MAX_FILE)?)
}

/// What plain sshd would take as the principals of `user`, in the form of an AuthorizedPrincipalsFile: the login name, if
/// `login_names`, and what the files say.
pub fn plain<'a>(login_names: bool, templates: impl Iterator<Item = &'a str>, user: &str) -> Vec<u8> {
    let mut lines = Vec::new();
    if !is_plain(user) {
        return lines;
    }
    if login_names {
        lines.extend_from_slice(user.as_bytes());
        lines.push(b'\n');
    }
    for template in templates {
        // A user without such a file has no principals there, as with plain sshd.
        if let Ok(content) = read(template, user) {
            lines.extend_from_slice(&content);
            lines.push(b'\n');
        }
    }
    lines
}

/// A name that means nothing but itself in a path and in a line of principals.
fn is_plain(user: &str) -> bool {
    let is_special = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '#' | '"' | '\\');
    !user.is_empty() && user != "." && user != ".." && !user.contains(is_special)
}

/// The template with `%u` and `%%` replaced; none if it uses what only sshd can know.
fn expand(template: &str, user: &str) -> Option<PathBuf> {
    let mut path = String::new();
    let mut parts = template.split('%');
    path.push_str(parts.next()?);
    while let Some(part) = parts.next() {
        if let Some(rest) = part.strip_prefix('u') {
            path.push_str(user);
            path.push_str(rest);
        } else if part.is_empty() {
            path.push('%');
            path.push_str(parts.next()?);
        } else {
            return None;
        }
    }
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_know_the_login_name_and_the_percent_sign_only() {
        assert_eq!(expand("/p/%u", "alice"), Some("/p/alice".into()));
        assert_eq!(expand("/p/%%u%u.x", "%u"), Some("/p/%u%u.x".into()));
        assert_eq!(expand("/p/100%%", "a"), Some("/p/100%".into()));
        for template in ["/p/%h", "/p/%", "%h/.ssh/p", "relative/%u", ""] {
            assert_eq!(expand(template, "alice"), None, "{template:?}");
        }
    }
}
