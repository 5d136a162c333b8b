//! Reads a cluster's `principals_file` as sshd reads `AuthorizedPrincipalsFile` (sshd_config(5)).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// The content of the file that a template names for a login.
///
/// # Errors
/// The template makes no safe path, or the file cannot be read or could have been written by somebody else.
pub(crate) fn read(template: &str, login: &str) -> Result<String, String> {
    let path = expand(template, login)?;
    let named = |error: std::io::Error| format!("{path}: {error}");
    let file = File::open(&path).map_err(named)?;
    let metadata = file.metadata().map_err(named)?;
    if !metadata.is_file() || metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err(format!("{path}: must be a file of root's that nobody else can write"));
    }
    let mut text = String::new();
    match file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(named)? {
        length if length as u64 > MAX_FILE => Err(format!("{path}: is longer than {MAX_FILE} bytes")),
        _fits => Ok(text),
    }
}

/// `%u` is the login, `%%` a percent sign; other tokens depend on the user database and are not taken.
fn expand(template: &str, login: &str) -> Result<String, String> {
    if login.is_empty() || login.starts_with('.') || login.contains(['/', '\0']) {
        return Err(format!("\"{}\" cannot be part of a path", login.escape_debug()));
    }
    let mut path = String::new();
    let mut characters = template.chars();
    while let Some(character) = characters.next() {
        match (character, character == '%') {
            (other, false) => path.push(other),
            (_, true) => match characters.next() {
                Some('u') => path.push_str(login),
                Some('%') => path.push('%'),
                other => return Err(format!("{template}: unknown token %{}", other.unwrap_or(' '))),
            },
        }
    }
    if path.starts_with('/') { Ok(path) } else { Err(format!("{template}: is not an absolute path")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_expanded_and_logins_cannot_climb() {
        assert_eq!(expand("/etc/p/%u", "alice").unwrap(), "/etc/p/alice");
        assert_eq!(expand("/etc/100%%/%u", "alice").unwrap(), "/etc/100%/alice");
        for (template, login) in
            [("/p/%u", "../shadow"), ("/p/%u", ""), ("/p/%h", "alice"), ("p/%u", "alice")]
        {
            assert!(expand(template, login).is_err(), "{template} {login}");
        }
    }
}
