//! What the hook answers when the agent does not: what plain sshd would, or nothing.

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use crate::mode_file::{Mode, ModeFile};
use crate::principals_file;

/// The answer of a hook on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// What counts now. Without a usable mode file: enforce.
    pub mode: Mode,
    /// The local ports that sshd serves; empty if unknown.
    pub login_ports: Vec<u16>,
    /// What is wrong with the mode files, for the log.
    pub problem: Option<String>,
    login_names: bool,
    principals_files: Vec<String>,
}

impl Fallback {
    /// Reads the mode file of the runtime directory or, if that is missing or unusable, of the state directory.
    pub fn read(runtime_dir: &Path, state_dir: &Path) -> Self {
        let mut problems = Vec::new();
        let mut file_of = |dir: &Path| match ModeFile::read(dir) {
            Ok(file) => Some(file),
            Err(error) => {
                problems.push(format!("{}: {error}", dir.join(crate::mode_file::FILE_NAME).display()));
                None
            }
        };
        let runtime = file_of(runtime_dir).map(|file| (file.mode_at(monotonic_ns()), file));
        // A moment in the state file is of a clock that began anew: the time to confirm is over.
        let found = runtime.or_else(|| file_of(state_dir).map(|file| (file.mode_at(u64::MAX), file)));
        match found {
            Some((mode, file)) => Self {
                mode,
                login_ports: file.login_ports,
                problem: None,
                login_names: file.login_names,
                principals_files: file.principals_files,
            },
            None => Self {
                mode: Mode::Enforce,
                login_ports: Vec::new(),
                problem: Some(problems.join("; ")),
                login_names: false,
                principals_files: Vec::new(),
            },
        }
    }

    /// Whether a login goes on without the agent's word.
    pub fn permits(&self) -> bool {
        match self.mode {
            Mode::Enforce => false,
            Mode::Audit | Mode::Off => true,
        }
    }

    /// What plain sshd would take as the principals of `user`, in the form of an AuthorizedPrincipalsFile.
    pub fn principals(&self, user: &str) -> Vec<u8> {
        if !self.permits() {
            return Vec::new();
        }
        principals_file::plain(self.login_names, self.principals_files.iter().map(String::as_str), user)
    }
}

/// Now, on the clock of [`crate::mode_file::Until`].
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::mode_file::Until;

    fn dirs() -> (TempDir, TempDir) {
        (tempdir().unwrap(), tempdir().unwrap())
    }

    fn mode(mode: Mode) -> ModeFile {
        ModeFile { mode, until: None, login_ports: vec![22], login_names: true, principals_files: vec![] }
    }

    fn with_templates(login_names: bool, templates: &[&str]) -> Fallback {
        Fallback {
            mode: Mode::Audit,
            login_ports: vec![],
            problem: None,
            login_names,
            principals_files: templates.iter().map(|&template| template.to_owned()).collect(),
        }
    }

    #[test]
    fn without_a_file_the_answer_is_no_and_says_why() {
        let (runtime, state) = dirs();
        let fallback = Fallback::read(runtime.path(), state.path());
        assert!(!fallback.permits());
        assert_eq!(fallback.principals("alice"), b"");
        assert!(fallback.problem.unwrap().contains("No such file"));
    }

    #[test]
    fn the_runtime_file_counts_before_the_state_file() {
        let (runtime, state) = dirs();
        mode(Mode::Audit).write(state.path()).unwrap();
        assert_eq!(Fallback::read(runtime.path(), state.path()).mode, Mode::Audit);
        mode(Mode::Enforce).write(runtime.path()).unwrap();
        assert_eq!(Fallback::read(runtime.path(), state.path()).mode, Mode::Enforce);
    }

    #[test]
    fn a_file_that_others_could_have_written_does_not_count() {
        let (runtime, state) = dirs();
        mode(Mode::Off).write(runtime.path()).unwrap();
        fs::set_permissions(runtime.path().join("mode"), Permissions::from_mode(0o666)).unwrap();
        let fallback = Fallback::read(runtime.path(), state.path());
        assert_eq!(fallback.mode, Mode::Enforce);
        assert!(fallback.problem.unwrap().contains("writable by group or others"));
    }

    #[test]
    fn an_unconfirmed_mode_ends_at_its_moment_and_with_a_reboot() {
        let (runtime, state) = dirs();
        let until = |monotonic_ns| Some(Until { monotonic_ns, mode: Mode::Audit });
        let unconfirmed = |moment| ModeFile { until: until(moment), ..mode(Mode::Enforce) };
        unconfirmed(u64::MAX).write(runtime.path()).unwrap();
        assert_eq!(Fallback::read(runtime.path(), state.path()).mode, Mode::Enforce);
        unconfirmed(1).write(runtime.path()).unwrap();
        assert_eq!(Fallback::read(runtime.path(), state.path()).mode, Mode::Audit);

        let (runtime, state) = dirs();
        unconfirmed(u64::MAX).write(state.path()).unwrap();
        assert_eq!(Fallback::read(runtime.path(), state.path()).mode, Mode::Audit);
    }

    #[test]
    fn principals_are_the_login_name_or_what_the_files_say() {
        assert_eq!(with_templates(true, &[]).principals("alice"), b"alice\n");
        let dir = tempdir().unwrap();
        fs::write(dir.path().join("alice"), "ops\nfrom=\"::/0\" dev").unwrap();
        let template = format!("{}/%u", dir.path().display());
        assert_eq!(with_templates(false, &[&template]).principals("alice"), b"ops\nfrom=\"::/0\" dev\n");
        assert_eq!(with_templates(false, &[&template]).principals("bob"), b"");
        assert_eq!(with_templates(true, &[&template]).principals("bob"), b"bob\n");
    }

    #[test]
    fn a_name_that_could_mean_more_than_itself_has_no_principals() {
        for user in ["", ".", "..", "../root", "a b", "a\nroot", "#a", "\"a", "a\u{85}"] {
            assert_eq!(with_templates(true, &["/etc/passwd"]).principals(user), b"", "{user:?}");
        }
    }
}
