//! The files that a pattern of sshd's AuthorizedKeysFile means, beside those in users' homes.

use std::path::{Component, Path, PathBuf};

use super::roots_file::{self, PlaceError};
use crate::setup::sshd_config::matches;

/// The most files that one pattern may mean.
const MOST: usize = 10_000;

/// The files that are there, or why they cannot be told.
pub(super) fn of(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = Path::new(pattern);
    if !path.is_absolute() {
        // Beside what is relative this is what begins with %h, and sshd's word for nothing.
        return Ok(Vec::new());
    }
    let mut paths = vec![PathBuf::from("/")];
    for part in path.components().filter(|part| *part != Component::RootDir) {
        let part = part.as_os_str().to_string_lossy();
        let name = Name::of(&part)?;
        paths = paths.iter().try_fold(Vec::new(), |mut all, path| {
            all.extend(name.in_directory(path).map_err(|error| format!("{}: {error}", path.display()))?);
            if all.len() > MOST { Err(format!("more than {MOST} files")) } else { Ok(all) }
        })?;
    }
    Ok(paths)
}

/// One part of a path, without tokens.
enum Name {
    Plain(String),
    /// With a `*` for the user's name or number.
    OfUsers(String),
}

impl Name {
    fn of(part: &str) -> Result<Self, String> {
        let (mut name, mut of_users) = (String::new(), false);
        let mut chars = part.chars();
        while let Some(char) = chars.next() {
            match (char, (char == '%').then(|| chars.next()).flatten()) {
                ('%', Some('%')) => name.push('%'),
                ('%', Some('u' | 'U')) => {
                    name.push('*');
                    of_users = true;
                }
                ('%', token) => return Err(format!("what %{} stands for differs", token.unwrap_or(' '))),
                (plain, _) => name.push(plain),
            }
        }
        Ok(if of_users { Self::OfUsers(name) } else { Self::Plain(name) })
    }

    fn in_directory(&self, directory: &Path) -> Result<Vec<PathBuf>, PlaceError> {
        let pattern = match self {
            Self::Plain(name) => return Ok(vec![directory.join(name)]),
            Self::OfUsers(pattern) => pattern,
        };
        let entries = match roots_file::entries(directory) {
            Ok(entries) => entries,
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            if found.len() <= MOST && matches(pattern, &entry.file_name().to_string_lossy()) {
                found.push(directory.join(entry.file_name()));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn tokens_for_users_are_filled_in_wherever_they_stand() {
        let dir = tempfile::tempdir_in("/run").unwrap();
        let at = |path: &str| dir.path().join(path).display().to_string();
        for user in ["alice", "bob"] {
            fs::create_dir_all(at(&format!("by/{user}"))).unwrap();
            fs::write(at(&format!("by/{user}/keys")), "").unwrap();
        }
        fs::write(at("by/%"), "").unwrap();
        let found = |pattern: &str| {
            let mut found = of(&at(pattern)).unwrap();
            found.sort();
            found
                .iter()
                .map(|path| path.strip_prefix(dir.path()).unwrap().display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(found("by/%u/keys"), ["by/%/keys", "by/alice/keys", "by/bob/keys"]);
        assert_eq!(found("by/a%Ue"), ["by/alice"]);
        assert_eq!(found("by/%%"), ["by/%"]);
        assert_eq!(found("by/none"), ["by/none"]);
        assert!(found("none/%u").is_empty());
        assert!(of(&at("by/%h/keys")).unwrap_err().contains("%h"));
        std::os::unix::fs::chown(at("by"), Some(12345), None).unwrap();
        assert!(of(&at("by/%u/keys")).unwrap_err().contains("users may have put it there"));
        for at_home in ["none", ".ssh/authorized_keys", "%h/keys"] {
            assert!(of(at_home).unwrap().is_empty());
        }
    }
}
