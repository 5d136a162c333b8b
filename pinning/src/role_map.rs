//! Role maps: how the roles of a trusted cluster become local ones.

use regex::{Captures, Regex, RegexBuilder};
use serde::Deserialize;

/// The most entries a map may have.
const MAX_ENTRIES: usize = 1024;
/// The longest text of a `remote` or `local`, in bytes.
const MAX_TEXT: usize = 1024;
/// The most memory one compiled expression may take, in bytes.
const MAX_REGEX_SIZE: usize = 1024 * 1024;

/// One entry as the configuration writes it: `{ remote = "dev-*", local = ["pinned-$1"] }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleMapEntry {
    /// A regular expression if it begins with `^` and ends with `$`, else a literal in which `*` matches anything.
    pub remote: String,
    /// Local roles; `$1` to `$9` stand for what the remote role's groups or stars matched.
    pub local: Vec<String>,
}

/// What is wrong with a role map. Entries count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleMapError {
    /// `remote` is empty.
    #[error("role_map entry {0}: remote is empty")]
    EmptyRemote(usize),
    /// `local` is an empty list or holds an empty text.
    #[error("role_map entry {0}: local is empty")]
    EmptyLocal(usize),
    /// `local` holds a star, which means something only in `remote`.
    #[error(
        "role_map entry {entry}: local {local:?} holds `*`; write $1 for what the star in remote matched"
    )]
    StarInLocal {
        /// Which entry.
        entry: usize,
        /// The offending text.
        local: String,
    },
    /// Two entries have the same `remote`.
    #[error("role_map entry {entry}: remote {remote:?} is there twice")]
    RemoteTwice {
        /// The later entry.
        entry: usize,
        /// The remote of both.
        remote: String,
    },
    /// `remote` is a regular expression that does not compile.
    #[error("role_map entry {entry}: {why}")]
    BadExpression {
        /// Which entry.
        entry: usize,
        /// What the expression's compiler says.
        why: String,
    },
    /// More than anybody means.
    #[error("role_map has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// `remote` or `local` is longer than anybody means.
    #[error("role_map entry {0}: longer than {MAX_TEXT} bytes")]
    TooLong(usize),
}

/// A role map, ready to apply.
#[derive(Debug, Clone)]
pub struct RoleMap(Vec<Rule>);

#[derive(Debug, Clone)]
struct Rule {
    entry: RoleMapEntry,
    remote: Regex,
}

/// Two maps are equal if they were written equally.
impl PartialEq for RoleMap {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|rule| &rule.entry).eq(other.0.iter().map(|rule| &rule.entry))
    }
}

impl Eq for RoleMap {}

impl RoleMap {
    /// Makes a map of the configuration's entries.
    ///
    /// # Errors
    /// What [`RoleMapError`] lists.
    pub fn new(entries: Vec<RoleMapEntry>) -> Result<Self, RoleMapError> {
        if entries.len() > MAX_ENTRIES {
            return Err(RoleMapError::TooManyEntries);
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            if rules.iter().any(|rule| rule.entry.remote == entry.remote) {
                return Err(RoleMapError::RemoteTwice { entry: index + 1, remote: entry.remote });
            }
            rules.push(Rule::new(index + 1, entry)?);
        }
        Ok(Self(rules))
    }

    /// The local roles for these remote ones: in the order of the remote roles, then of the entries; each once, no
    /// empty names.
    pub fn apply<S: AsRef<str>>(&self, remote: &[S]) -> Vec<String> {
        let mut local: Vec<String> = Vec::new();
        for role in remote {
            for mapped in self.0.iter().flat_map(|rule| rule.apply(role.as_ref())) {
                if !mapped.is_empty() && !local.contains(&mapped) {
                    local.push(mapped);
                }
            }
        }
        local
    }
}

impl Rule {
    fn new(number: usize, entry: RoleMapEntry) -> Result<Self, RoleMapError> {
        if entry.remote.is_empty() {
            return Err(RoleMapError::EmptyRemote(number));
        }
        if entry.local.is_empty() || entry.local.iter().any(String::is_empty) {
            return Err(RoleMapError::EmptyLocal(number));
        }
        if let Some(local) = entry.local.iter().find(|local| local.contains('*')) {
            return Err(RoleMapError::StarInLocal { entry: number, local: local.clone() });
        }
        if entry.remote.len() > MAX_TEXT || entry.local.iter().any(|local| local.len() > MAX_TEXT) {
            return Err(RoleMapError::TooLong(number));
        }
        let bad = |error: regex::Error| RoleMapError::BadExpression { entry: number, why: error.to_string() };
        let remote = compile(&entry.remote).map_err(bad)?;
        Ok(Self { entry, remote })
    }

    fn apply(&self, role: &str) -> Vec<String> {
        let Some(captures) = self.remote.captures(role) else {
            return Vec::new();
        };
        self.entry.local.iter().map(|local| expand(local, &captures)).collect()
    }
}

/// The expression that matches a whole role name.
fn compile(remote: &str) -> Result<Regex, regex::Error> {
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(MAX_REGEX_SIZE).build();
    if remote.starts_with('^') && remote.ends_with('$') {
        // It must stand on its own before it is put into a group, or `^a)|(b$` would break out.
        build(remote)?;
        return build(&format!(r"\A(?:{remote})\z"));
    }
    let parts: Vec<String> = remote.split('*').map(regex::escape).collect();
    build(&format!(r"(?s)\A{}\z", parts.join("(.*)")))
}

/// Replaces `$1` to `$9`; a group that is not there or matched nothing is empty. Any other `$` stays.
fn expand(local: &str, captures: &Captures<'_>) -> String {
    let mut expanded = String::with_capacity(local.len());
    let mut rest = local.chars().peekable();
    while let Some(c) = rest.next() {
        let group = match rest.peek() {
            Some(digit @ '1'..='9') if c == '$' => digit.to_digit(10),
            _ => None,
        };
        match group.and_then(|group| usize::try_from(group).ok()) {
            Some(group) => {
                rest.next();
                expanded.push_str(captures.get(group).map_or("", |matched| matched.as_str()));
            }
            None => expanded.push(c),
        }
    }
    expanded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(remote: &str, local: &[&str]) -> RoleMapEntry {
        RoleMapEntry { remote: remote.into(), local: local.iter().map(|local| (*local).to_owned()).collect() }
    }

    fn map(entries: &[(&str, &[&str])]) -> Result<RoleMap, RoleMapError> {
        RoleMap::new(entries.iter().map(|(remote, local)| entry(remote, local)).collect())
    }

    fn apply(entries: &[(&str, &[&str])], remote: &[&str]) -> Vec<String> {
        map(entries).unwrap().apply(remote)
    }

    #[test]
    fn a_literal_matches_itself_alone() {
        assert_eq!(apply(&[("dev", &["local"])], &["dev"]), ["local"]);
        for role in ["devil", "a-dev", "Dev", "", "d.v"] {
            assert!(apply(&[("dev", &["local"])], &[role]).is_empty(), "{role}");
        }
        assert!(apply(&[("d.v", &["local"])], &["dev"]).is_empty());
    }

    #[test]
    fn a_star_matches_and_captures_anything() {
        assert_eq!(apply(&[("dev-*", &["pinned-$1"])], &["dev-web"]), ["pinned-web"]);
        assert_eq!(apply(&[("*-*", &["$2.$1"])], &["a-b-c"]), ["c.a-b"]);
        assert_eq!(apply(&[("*", &["any"])], &["x\ny"]), ["any"]);
        assert!(apply(&[("dev-*", &["pinned-$1"])], &["my-dev-web"]).is_empty());
    }

    #[test]
    fn an_expression_matches_as_a_whole() {
        assert_eq!(apply(&[("^dev|prod$", &["x"])], &["dev"]), ["x"]);
        assert_eq!(apply(&[("^dev|prod$", &["x"])], &["prod"]), ["x"]);
        assert!(apply(&[("^dev|prod$", &["x"])], &["devil", "reprod", "dev\n"]).is_empty());
        assert_eq!(apply(&[("^dev-(.*)$", &["$1_x"])], &["dev-a"]), ["a_x"]);
        assert_eq!(apply(&[(r"^cost\$", &["x"])], &["cost$"]), ["x"]);
        assert!(apply(&[("^(?m)a$", &["x"])], &["a\nb"]).is_empty());
    }

    #[test]
    fn only_both_anchors_make_an_expression() {
        assert_eq!(apply(&[("^dev", &["x"])], &["^dev"]), ["x"]);
        assert!(apply(&[("^dev", &["x"])], &["dev"]).is_empty());
        assert!(apply(&[("dev.*$", &["x"])], &["dev"]).is_empty());
    }

    #[test]
    fn groups_expand_digit_by_digit() {
        assert_eq!(
            apply(&[("^(a)(b)$", &["$12", "$2$1", "$0", "$x", "$", "$$1"])], &["ab"]),
            ["a2", "ba", "$0", "$x", "$", "$a"]
        );
        assert_eq!(apply(&[("^(a)|b$", &["l$1", "$1", "$9"])], &["b"]), ["l"]);
    }

    #[test]
    fn maps_are_equal_if_written_equally() {
        assert_eq!(map(&[("a", &["x"])]), map(&[("a", &["x"])]));
        assert_ne!(map(&[("a", &["x"])]), map(&[("a", &["y"])]));
        assert_ne!(map(&[("a", &["x"])]), map(&[]));
    }

    #[test]
    fn expressions_of_ordinary_size_compile() {
        assert_eq!(apply(&[(r"^team-(\w{1,40})-(\d+)$", &["$1"])], &["team-ops-7"]), ["ops"]);
    }

    #[test]
    fn results_are_deduplicated_in_order() {
        let entries: &[(&str, &[&str])] = &[("a*", &["x", "$1", "x"]), ("ab", &["y", "x"])];
        assert_eq!(apply(entries, &["ab", "a", "ab"]), ["x", "b", "y"]);
    }

    #[test]
    fn bad_maps_are_errors_that_name_the_entry() {
        let error = |entries: &[(&str, &[&str])]| map(entries).unwrap_err().to_string();
        assert_eq!(error(&[("a", &["x"]), ("", &["x"])]), "role_map entry 2: remote is empty");
        assert_eq!(error(&[("a", &[])]), "role_map entry 1: local is empty");
        assert_eq!(error(&[("a", &["x", ""])]), "role_map entry 1: local is empty");
        assert_eq!(
            error(&[("a", &["x-*"])]),
            "role_map entry 1: local \"x-*\" holds `*`; write $1 for what the star in remote matched"
        );
        assert_eq!(error(&[("a", &["x"]), ("a", &["y"])]), "role_map entry 2: remote \"a\" is there twice");
        assert!(error(&[("^a)|(b$", &["x"])]).starts_with("role_map entry 1: "));
        assert!(error(&[("^(a$", &["x"])]).contains("unclosed group"));
        assert!(error(&[("^(?x)a#$", &["x"])]).starts_with("role_map entry 1: "));
        assert!(error(&[("^((a{1000}){1000}){1000}$", &["x"])]).starts_with("role_map entry 1: "));
        assert_eq!(error(&[(&"a".repeat(1025), &["x"])]), "role_map entry 1: longer than 1024 bytes");
        let many = (0..1025).map(|number| entry(&number.to_string(), &["x"])).collect();
        assert_eq!(RoleMap::new(many).unwrap_err(), RoleMapError::TooManyEntries);
    }

    /// The plain meaning of a literal with stars: each takes as much as it can while the rest still fits.
    fn glob<'a>(pattern: &[char], text: &'a [char]) -> Option<Vec<&'a [char]>> {
        match pattern.split_first() {
            None => text.is_empty().then(Vec::new),
            Some(('*', rest)) => (0..=text.len()).rev().find_map(|taken| {
                let mut groups = glob(rest, &text[taken..])?;
                groups.insert(0, &text[..taken]);
                Some(groups)
            }),
            Some((c, rest)) => (text.first() == Some(c)).then(|| glob(rest, &text[1..]))?,
        }
    }

    fn reference(entries: &[RoleMapEntry], remote: &[String]) -> Vec<String> {
        let mut local = Vec::new();
        for role in remote {
            let role: Vec<char> = role.chars().collect();
            for entry in entries {
                let Some(groups) = glob(&entry.remote.chars().collect::<Vec<_>>(), &role) else { continue };
                for template in &entry.local {
                    let mut pieces = template.split('$');
                    let mut mapped = pieces.next().unwrap_or_default().to_owned();
                    for piece in pieces {
                        match piece.chars().next().and_then(|c| c.to_digit(10)) {
                            Some(group @ 1..) => {
                                mapped.extend(groups.get(group as usize - 1).copied().unwrap_or_default());
                                mapped.push_str(&piece[1..]);
                            }
                            _ => mapped.extend(["$", piece]),
                        }
                    }
                    local.push(mapped);
                }
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        local.retain(|role| !role.is_empty() && seen.insert(role.clone()));
        local
    }

    proptest! {
        #[test]
        fn literals_with_stars_map_as_the_reference_does(
            entries in prop::collection::btree_map("[ab.*-]{1,5}", prop::collection::vec("[ab$12]{1,4}", 1..3), 0..5),
            remote in prop::collection::vec("[ab.\n-]{0,6}", 0..5),
        ) {
            let entries: Vec<_> =
                entries.into_iter().map(|(remote, local)| RoleMapEntry { remote, local }).collect();
            let mapped = RoleMap::new(entries.clone()).unwrap().apply(&remote);
            prop_assert_eq!(mapped, reference(&entries, &remote));
        }

        #[test]
        fn no_map_panics(remote in ".{0,12}", local in ".{0,12}", role in ".{0,12}") {
            for remote in [remote.clone(), format!("^{remote}$")] {
                if let Ok(map) = RoleMap::new(vec![RoleMapEntry { remote, local: vec![local.clone()] }]) {
                    prop_assert!(map.apply(&[&role]).iter().all(|local| !local.is_empty()));
                }
            }
        }

        #[test]
        fn an_alternation_of_names_matches_these_names_only(
            names in prop::collection::vec("[ab]{1,3}", 1..4), role in "[ab]{0,4}",
        ) {
            let map = map(&[(&format!("^{}$", names.join("|")), &["x"])]).unwrap();
            prop_assert_eq!(map.apply(&[&role]).len() == 1, names.contains(&role));
        }
    }
}
