//! Whether PAM runs Cotter's hook for every login that sshd lets in, goes by what it says, and does so before users have
//! a say in PAM's environment.

use std::path::Path;

use super::pam_stack::{Line, goes_on_after, leaves_out, session_lines};

/// What the session lines amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// The hook comes before every pam_env that reads users' files, and nobody passes it by.
    Right,
    /// A pam_env that reads users' files comes first: users can pose as somebody else to the hook.
    EnvironmentFirst,
    /// The hook runs when sessions close too, after all that reads users' files: as root, with what they say.
    AtClose,
    /// By this line a login may never come to the hook.
    LeftOut(String),
    /// By this line a login goes on although the hook denies it.
    GoesOn(String),
    /// The hook is not there.
    NoHook,
}

/// The order in a PAM service's file, with what it includes.
pub(crate) fn of(service: &str, dir: &Path) -> Order {
    let lines = session_lines(service, dir);
    let is_hook = |line: &Line| line.text.contains("cotter-hook");
    let (Some(at), Some(last)) = (lines.iter().position(is_hook), lines.iter().rposition(is_hook)) else {
        return Order::NoHook;
    };
    // Every line that runs it does harm; that a login depends on it, the first one sees to.
    if lines.iter().any(|line| is_hook(line) && !line.text.contains("type=open_session")) {
        return Order::AtClose;
    }
    if lines[..last].iter().any(|line| reads_user_files(&line.text)) {
        return Order::EnvironmentFirst;
    }
    if let Some(line) = leaves_out(&lines, at, service) {
        return Order::LeftOut(line.text.clone());
    }
    // What pam_exec(8) answers when its program fails.
    match goes_on_after(&lines, at, "system_err", service) {
        Some(line) => Order::GoesOn(line.text.clone()),
        None => Order::Right,
    }
}

/// `user_readenv` is off unless set to a number other than 0 (pam_env(8), Linux-PAM 1.5), which may stand in brackets.
fn reads_user_files(line: &str) -> bool {
    let is_on = |(_, rest): (usize, &str)| {
        let number = rest.trim_start_matches([' ', '+', '-']);
        let digits = number.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default();
        digits.contains(|digit| digit != '0')
    };
    let set = line.match_indices("user_readenv=").map(|(at, name)| (at, &line[at + name.len()..]));
    line.contains("pam_env.so") && set.into_iter().any(is_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVIRONMENT: &str = "session required pam_env.so user_readenv=1 envfile=/etc/default/locale\n";
    const HOOK: &str = "session include cotter # the hook\n";
    const EXEC: &str = "pam_exec.so quiet stdout type=open_session /usr/lib/cotter/cotter-hook pam";

    fn order(sshd: &str) -> Order {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("sshd", sshd);
        write("common-session", "session [default=1] pam_permit.so\nsession requisite pam_deny.so\n");
        write("cotter", &format!("session required {EXEC}\n"));
        let resets = "session [success=reset default=ignore] pam_permit.so\n";
        write("resets", resets);
        write("around", &format!("session substack cotter\n{resets}"));
        write("ends", "auth sufficient pam_permit.so\nsession sufficient pam_permit.so\n");
        write("itself", "@include itself\nsession include itself\nsession substack itself\n");
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

    #[test]
    fn no_second_line_may_run_the_hook_where_users_have_a_say() {
        let at_close = "session required pam_exec.so /usr/lib/cotter/cotter-hook pam\n";
        assert_eq!(order(&format!("{HOOK}{ENVIRONMENT}{at_close}")), Order::AtClose);
        assert_eq!(order(&format!("{HOOK}{ENVIRONMENT}{HOOK}")), Order::EnvironmentFirst);
        assert_eq!(order(&format!("{HOOK}{HOOK}{ENVIRONMENT}")), Order::Right);
        for on in ["user_readenv=01", "[user_readenv=1]", "debug [user_readenv= 1]", "user_readenv=2"] {
            let line = format!("session required pam_env.so {on}\n");
            assert_eq!(order(&format!("{line}{HOOK}")), Order::EnvironmentFirst, "{on}");
        }
        assert_eq!(order(&format!("session required pam_env.so user_readenv=00\n{HOOK}")), Order::Right);
    }

    #[test]
    fn a_comment_ends_its_line_whatever_it_ends_in() {
        let ends = "session sufficient pam_permit.so";
        assert_eq!(order(&format!("# old \\\n{ends}\n{HOOK}")), Order::LeftOut(ends.to_owned()));
        assert_eq!(
            order(&format!("session required # old \\\n{ends}\n{HOOK}")),
            Order::LeftOut(ends.to_owned())
        );
        assert_eq!(order(&format!("# the hook \\\n{HOOK}")), Order::Right);
        assert_eq!(
            order(&format!("session \\ \t\n# of ours \\\n\n include cotter\n{ENVIRONMENT}")),
            Order::Right
        );
    }

    #[test]
    fn no_line_before_it_may_leave_the_hook_out() {
        let left_out = |before: &str| {
            let order = order(&format!("{before}{HOOK}"));
            if let Order::LeftOut(line) = order {
                return Some(line);
            }
            assert_eq!(order, Order::Right, "{before}");
            None
        };
        for before in [
            "session sufficient pam_permit.so",
            "SESSION\tSufficient \\\n pam_permit.so # yes",
            "session [success=done default=ignore] pam_permit.so",
            "session [ success = 1 default=bad ] pam_permit.so",
            "session [default=2] pam_permit.so\nsession substack common-session",
            "session include ends",
            "@include ends",
            "session [success=1 default=ignore] pam_succeed_if.so quiet service in sshd",
            "session [success=1 default=ignore] pam_succeed_if.so quiet user = git",
            "session [success=ok default=1] pam_succeed_if.so quiet service notin sshd",
            "session [success=ignore default=1] pam_succeed_if.so quiet service = sshd user != git",
            "session [success=ignore default=1] pam_succeed_if.so quiet",
        ] {
            assert!(left_out(&format!("{before}\n")).is_some(), "{before}");
        }
        for before in [
            "auth sufficient pam_permit.so",
            "session substack ends",
            "session [success=1 default=ignore] pam_succeed_if.so quiet service notin sshd",
            "session [default=1] pam_permit.so\nsession substack ends",
            "session [success=ignore default=1] pam_succeed_if.so quiet service = sshd",
            "session [success=1 perm_denied=1 default=ignore] pam_succeed_if.so service in login:su",
            // PAM fails where there is not enough left to jump over.
            "session [default=9] pam_permit.so",
        ] {
            assert_eq!(left_out(&format!("{before}\n")), None, "{before}");
        }
    }

    #[test]
    fn the_hooks_no_must_be_the_end_of_a_login() {
        let goes_on = |lines: &str| {
            let order = order(lines);
            if let Order::GoesOn(line) = order {
                return Some(line);
            }
            assert_eq!(order, Order::Right, "{lines}");
            None
        };
        for control in [
            "required",
            "requisite",
            "[success=ok ignore=ignore default=bad]",
            "[success=ok]",
            "[success=ok default=ok]",
            "[success=ok default=done]",
            "nonsense",
        ] {
            assert_eq!(goes_on(&format!("session {control} {EXEC}\n")), None, "{control}");
        }
        for control in ["optional", "sufficient", "[default=ignore]", "[success=ok system_err=1 default=die]"]
        {
            let line = format!("session {control} {EXEC}");
            assert_eq!(goes_on(&format!("{line}\n")), Some(line));
        }
        let forgets = "session [success=reset default=ignore] pam_permit.so";
        assert_eq!(goes_on(&format!("{HOOK}{forgets}\n")).as_deref(), Some(forgets));
        assert_eq!(goes_on(&format!("session requisite {EXEC}\n{forgets}\n")), None);
        assert_eq!(goes_on(&format!("session substack cotter\n{forgets}\n")).as_deref(), Some(forgets));
        assert_eq!(goes_on(&format!("session [default=ok] {EXEC}\n{forgets}\n")).as_deref(), Some(forgets));
        // What has failed before a substack began is not forgotten in it.
        assert_eq!(goes_on("session substack cotter\nsession substack resets\n"), None);
        assert_eq!(goes_on("session substack around\n").as_deref(), Some(forgets));
    }

    #[test]
    fn files_that_include_themselves_come_to_an_end() {
        assert_eq!(order(&format!("{HOOK}@include itself\n")), Order::Right);
    }
}
