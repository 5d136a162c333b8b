//! Whose session it is, by what only root can have made so.

use super::Farewell;
use super::terminals::children;
use std::collections::BTreeSet;
use std::fs;

/// The user id of a session's account. None if that cannot be told.
pub(super) fn owner(of: &Farewell) -> Option<u32> {
    match &of.cgroup {
        Some(cgroup) => of_slice(cgroup).or_else(|| served_by(of.monitor)),
        None => served_by(of.monitor),
    }
}

/// The user in whose slice a cgroup lies, as logind names it: `user-UID.slice`.
fn of_slice(cgroup: &str) -> Option<u32> {
    cgroup.split('/').find_map(|part| part.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok())
}

/// The user that an sshd's children run as. Beside the one that serves a login, there may be one of root's for a moment.
fn served_by(monitor: u32) -> Option<u32> {
    if real_uid(monitor)? != 0 {
        return None;
    }
    only_user(children(monitor).into_iter().filter_map(real_uid).collect())
}

fn only_user(mut users: BTreeSet<u32>) -> Option<u32> {
    if users.len() > 1 {
        users.remove(&0);
    }
    (users.len() == 1).then(|| users.pop_first()).flatten()
}

/// The first of the four numbers behind `Uid:` (proc(5)): a program with the set-user-ID bit does not change it.
fn real_uid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_in_a_users_slice_is_that_users() {
        assert_eq!(of_slice("/user.slice/user-4101.slice/session-7.scope"), Some(4101));
        assert_eq!(of_slice("/system.slice/ssh.service"), None);
        assert_eq!(of_slice("/user.slice/user-.slice/session-7.scope"), None);
    }

    #[test]
    fn a_login_is_its_childrens_and_roots_only_if_nobody_elses() {
        assert_eq!(only_user([4101, 0].into()), Some(4101));
        assert_eq!(only_user([0].into()), Some(0));
        assert_eq!(only_user([4101, 4102].into()), None);
        assert_eq!(only_user([].into()), None);
    }
}
