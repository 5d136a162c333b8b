//! sshd's configuration as it is written: which line of which file says what, and for whom.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// How deep files may include each other (sshd's own limit).
const MAX_DEPTH: u32 = 16;

/// One `keyword value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(super) file: PathBuf,
    /// From 1.
    pub(super) number: usize,
    /// In lower case.
    pub(super) keyword: String,
    /// As written, without quotes around the whole.
    pub(super) value: String,
    /// The criteria of the `Match` block that it stands in; a `Match` line itself is of its own block.
    pub(super) block: Option<String>,
}

impl Line {
    /// `FILE:LINE`, for messages.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }

    /// Whether the value is sshd's word for nothing.
    pub(super) fn is_none(&self) -> bool {
        self.value.eq_ignore_ascii_case("none")
    }
}

/// All lines of a file and of what it includes, in the order in which sshd reads them, but for those of the file
/// `without`.
pub(crate) fn read(main: &Path, without: &Path) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    read_into(&mut lines, main, without, None, MAX_DEPTH)?;
    Ok(lines)
}

fn read_into(
    lines: &mut Vec<Line>,
    file: &Path,
    without: &Path,
    block: Option<&str>,
    depth: u32,
) -> io::Result<()> {
    let text = fs::read(file)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
    let mut block = block.map(str::to_owned);
    for (number, line) in (1..).zip(String::from_utf8_lossy(&text).lines()) {
        let Some((keyword, value)) = keyword_and_value(line) else { continue };
        if keyword == "match" {
            block = Some(value.clone());
        }
        if keyword == "include" && depth > 0 {
            for included in included(&value, file.parent().unwrap_or(Path::new("/"))) {
                if included != without {
                    // What an included file begins ends with it.
                    read_into(lines, &included, without, block.as_deref(), depth - 1)?;
                }
            }
        }
        lines.push(Line { file: file.to_owned(), number, keyword, value, block: block.clone() });
    }
    Ok(())
}

/// The text of the main file with every `Include` spelt out, but for the file `without`: what sshd would go by if that
/// were not there.
pub(super) fn spelt_out(main: &Path, without: &Path) -> io::Result<String> {
    let text = fs::read(main)?;
    let mut spelt_out = String::new();
    for line in String::from_utf8_lossy(&text).lines() {
        match keyword_and_value(line) {
            Some((keyword, value)) if keyword == "include" => {
                let files = included(&value, main.parent().unwrap_or(Path::new("/")));
                for file in files.iter().filter(|file| *file != without) {
                    spelt_out.push_str(&format!("Include \"{}\"\n", file.display()));
                }
            }
            _ => spelt_out.push_str(&format!("{line}\n")),
        }
    }
    Ok(spelt_out)
}

/// `keyword value`, `keyword=value`, comments and quotes as sshd takes them.
fn keyword_and_value(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let end = line.find(|c: char| c.is_whitespace() || c == '=')?;
    let (keyword, rest) = line.split_at(end);
    if keyword.starts_with('#') {
        return None;
    }
    let rest = rest.trim_start();
    let value = rest.strip_prefix('=').unwrap_or(rest).trim();
    let whole = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = whole.filter(|whole| !whole.contains('"')).unwrap_or(value);
    Some((keyword.to_ascii_lowercase(), value.to_owned()))
}

/// The files that an `Include` names, in the order in which sshd reads them. Relative ones lie beside the main file;
/// of patterns only those in the last part of a path are followed, as distributions have them.
fn included(value: &str, beside: &Path) -> Vec<PathBuf> {
    let patterns = value.split_whitespace().map(|word| beside.join(word.trim_matches('"')));
    let mut files = Vec::new();
    for pattern in patterns {
        let (Some(directory), Some(name)) =
            (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
        else {
            continue;
        };
        if !name.contains(['*', '?']) {
            files.extend(pattern.is_file().then_some(pattern));
            continue;
        }
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            // glob(3): hidden files only for patterns that name the dot.
            .filter(|entry| {
                entry.file_name().to_str().is_some_and(|file| !file.starts_with('.') && matches(name, file))
            })
            .map(|entry| entry.path())
            .collect();
        found.sort();
        files.extend(found);
    }
    files
}

/// Whether a name fits a pattern with `*` and `?`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches(rest, &name[at..]))
        }
        Some(first) => {
            let mut chars = name.chars();
            chars.next().is_some_and(|c| first == '?' || first == c)
                && matches(&pattern[first.len_utf8()..], chars.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_their_place_and_block_through_includes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/10.conf"), "Match User git\n  AuthorizedKeysFile=/srv/keys\n").unwrap();
        fs::write(at("d/00-ours.conf"), "UsePAM yes\n").unwrap();
        fs::write(at("d/notes"), "Port 1\n").unwrap();
        let main = at("sshd_config");
        fs::write(&main, "# Port 2\nInclude d/*.conf\nUsePAM \"no\"\nMatch all\nX11Forwarding no\n").unwrap();
        let lines = read(&main, &at("d/00-ours.conf")).unwrap();
        let said: Vec<_> = lines
            .iter()
            .map(|line| (line.keyword.as_str(), line.value.as_str(), line.block.as_deref()))
            .collect();
        assert_eq!(
            said,
            [
                ("match", "User git", Some("User git")),
                ("authorizedkeysfile", "/srv/keys", Some("User git")),
                ("include", "d/*.conf", None),
                ("usepam", "no", None),
                ("match", "all", Some("all")),
                ("x11forwarding", "no", Some("all")),
            ]
        );
        assert_eq!(lines[1].place(), format!("{}:2", at("d/10.conf").display()));
        let text = spelt_out(&main, &at("d/00-ours.conf")).unwrap();
        assert!(text.contains("d/10.conf\"\nUsePAM"), "{text}");
        assert!(!text.contains("00-ours"), "{text}");
    }

    #[test]
    fn patterns_match_as_a_whole() {
        assert!(matches("*.conf", "10.conf") && matches("a?c", "abc") && matches("*", ""));
        assert!(!matches("*.conf", "10.conf.dpkg-old") && !matches("a?c", "ac"));
    }
}
