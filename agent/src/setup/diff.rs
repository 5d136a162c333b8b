//! What would change, as `diff -u` shows it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use similar::TextDiff;

/// A file and what is to stand in it; none if it is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) path: PathBuf,
    pub(super) after: Option<String>,
    before: Option<String>,
}

impl Change {
    /// From what is there; none if that is so already.
    pub(super) fn to(path: &Path, after: Option<String>) -> io::Result<Option<Self>> {
        let before = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(String::from_utf8_lossy(&read?).into_owned()),
        };
        Ok((before != after).then(|| Self { path: path.to_owned(), after, before }))
    }

    /// The unified diff.
    pub(super) fn diff(&self) -> String {
        let text = |content: &Option<String>| content.clone().unwrap_or_default();
        let name = |content: &Option<String>| match content {
            Some(_) => self.path.display().to_string(),
            None => "/dev/null".to_owned(),
        };
        let (before, after) = (text(&self.before), text(&self.after));
        TextDiff::from_lines(&before, &after)
            .unified_diff()
            .header(&name(&self.before), &name(&self.after))
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_comes_from_nowhere_and_one_that_is_right_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let change = Change::to(&path, Some("a\n".into())).unwrap().unwrap();
        assert_eq!(change.diff(), format!("--- /dev/null\n+++ {}\n@@ -0,0 +1 @@\n+a\n", path.display()));
        fs::write(&path, "a\n").unwrap();
        assert_eq!(Change::to(&path, Some("a\n".into())).unwrap(), None);
    }
}
