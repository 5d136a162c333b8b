//! The suite's tests that have an authority, a second time: the first was on SQLite, this one is on PostgreSQL.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Modules of the suite whose tests have an authority.
const MODULES: [&str; 5] = ["authority::", "client::", "doctor::followed::", "observed::", "policy::"];
/// Below these are tests that name their storage themselves: once is enough.
const ONCE: &str = "::only_";

/// The second run of these tests.
pub(super) struct Again {
    tests: Vec<String>,
}

impl Again {
    /// Finds out which tests it is.
    pub(super) fn of(filter: Option<&str>) -> Result<Self> {
        let mut list = suite();
        list.args(["--list", "--format", "terse"]).stderr(Stdio::inherit());
        let output = list.output().context("cannot run cargo test")?;
        if !output.status.success() {
            bail!("the suite's tests cannot be listed: {}", output.status);
        }
        let tests = chosen(&String::from_utf8_lossy(&output.stdout), filter);
        Ok(Self { tests })
    }

    /// What runs it; `None` if there is nothing to run.
    pub(super) fn command(&self) -> Option<Command> {
        if self.tests.is_empty() {
            return None;
        }
        let mut test = suite();
        test.env("COTTER_LAB_STORAGE", "postgres").arg("--exact").args(&self.tests);
        Some(test)
    }

    /// What is said before it.
    pub(super) fn title(&self) -> String {
        format!(
            "{} tests of the suite again, now with the authority on PostgreSQL (COTTER_LAB_STORAGE=postgres); \
             not those below `only_…`, which name their storage themselves",
            self.tests.len()
        )
    }
}

/// The suite as it was built for the first run.
fn suite() -> Command {
    let mut test = cargo::command();
    test.args(["test", "--workspace", "--test", "suite", "--"]);
    test
}

/// Of a listing as test programs print it.
fn chosen(listing: &str, filter: Option<&str>) -> Vec<String> {
    let has_authority = |name: &&str| MODULES.iter().any(|module| name.starts_with(module));
    listing
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(has_authority)
        .filter(|name| !name.contains(ONCE) && filter.is_none_or(|filter| name.contains(filter)))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn tests_with_an_authority_are_chosen_but_for_those_that_name_their_storage() {
        let listing = "authority::nobody: test\nauthority::only_sqlite::a_file: test\n\
                       trust::policy::x: test\npolicy::a_lock: test\n\n3 tests, 0 benchmarks\n";
        assert_eq!(chosen(listing, None), ["authority::nobody", "policy::a_lock"]);
        assert_eq!(chosen(listing, Some("lock")), ["policy::a_lock"]);
        assert!(chosen(listing, Some("only")).is_empty());
    }

    /// A module that gets an authority later is not to be forgotten.
    #[test]
    fn every_module_of_the_suite_that_starts_an_authority_is_among_them() {
        let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/suite");
        let mut found = Vec::new();
        for file in files(&suite) {
            if fs::read_to_string(&file).unwrap().contains("Authority::") {
                let module = file.strip_prefix(&suite).unwrap().with_extension("");
                found.push(module.to_str().unwrap().replace('/', "::") + "::");
            }
        }
        let lacks: Vec<_> =
            found.iter().filter(|it| !MODULES.iter().any(|module| it.starts_with(module))).collect();
        assert!(lacks.is_empty(), "{lacks:?}");
        assert!(MODULES.iter().all(|module| found.iter().any(|it| it.starts_with(module))), "{found:?}");
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }
}
