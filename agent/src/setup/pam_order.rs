//! Whether `/etc/pam.d/sshd` runs Cotter's hook before users have a say in PAM's environment.

use std::fs;
use std::path::Path;

/// What the session lines amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The hook comes before every pam_env that reads users' files.
    Right,
    /// A pam_env that reads users' files comes first: users can pose as somebody else to the hook.
    EnvironmentFirst,
    /// The hook runs when sessions close too, after all that reads users' files: as root, with what they say.
    AtClose,
    /// The hook is not there.
    NoHook,
}

/// The order in a PAM service's file, with what it includes.
pub(crate) fn of(service: &str, dir: &Path) -> Order {
    let mut environment = false;
    for line in session_lines(service, dir, 8) {
        environment |= line.contains("pam_env.so") && reads_user_files(&line);
        if line.contains("cotter-hook") {
            return match (environment, line.contains("type=open_session")) {
                (true, _) => Order::EnvironmentFirst,
                (false, false) => Order::AtClose,
                (false, true) => Order::Right,
            };
        }
    }
    Order::NoHook
}

/// `user_readenv` is off unless set to 1 (pam_env(8), Linux-PAM 1.5).
fn reads_user_files(line: &str) -> bool {
    line.split_whitespace().any(|word| word == "user_readenv=1")
}

/// Session lines in the order in which they run; includes at most `depth` deep.
fn session_lines(service: &str, dir: &Path, depth: u32) -> Vec<String> {
    let text = fs::read_to_string(dir.join(service)).unwrap_or_default();
    let mut lines = Vec::new();
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["@include", other] | ["session" | "-session", "include" | "substack", other] if depth > 0 => {
                lines.extend(session_lines(other, dir, depth - 1));
            }
            ["session" | "-session", ..] => lines.push(line.to_owned()),
            _other_lines => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVIRONMENT: &str = "session required pam_env.so user_readenv=1 envfile=/etc/default/locale\n";
    const HOOK: &str = "session include cotter # the hook\n";

    fn order(sshd: &str) -> Order {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("sshd"), sshd).unwrap();
        std::fs::write(dir.path().join("common-session"), "session required pam_unix.so\n").unwrap();
        let hook =
            "session required pam_exec.so quiet stdout type=open_session /usr/lib/cotter/cotter-hook pam\n";
        std::fs::write(dir.path().join("cotter"), hook).unwrap();
        of("sshd", dir.path())
    }

    #[test]
    fn the_hook_must_come_before_users_have_a_say() {
        let common = "@include common-session\n";
        assert_eq!(order(&format!("{common}{HOOK}{ENVIRONMENT}")), Order::Right);
        assert_eq!(order(&format!("{common}{ENVIRONMENT}{HOOK}")), Order::EnvironmentFirst);
        assert_eq!(order(&format!("{common}session required pam_env.so\n{HOOK}")), Order::Right);
        assert_eq!(order(common), Order::NoHook);
        let at_close = "session required pam_exec.so /usr/lib/cotter/cotter-hook pam\n";
        assert_eq!(order(&format!("{common}{at_close}{ENVIRONMENT}")), Order::AtClose);
    }
}
