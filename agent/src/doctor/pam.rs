//! PAM: whether it runs the session hook, and where.

use std::path::Path;

use super::{Finding, Node};
use crate::setup::pam_order::{self, Order};

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let service = node.sshd.as_ref().map_or("sshd", |sshd| sshd.pam_service());
    let asks = node.sshd.as_ref().is_ok_and(|sshd| sshd.asks());
    vec![of(pam_order::of(service, Path::new("/etc/pam.d")), service, asks)]
}

fn of(order: Order, service: &str, asks: bool) -> Finding {
    match order {
        Order::Right => Finding::ok("pam", "PAM runs the hook before users have a say in its environment"),
        Order::NoHook if asks => Finding::error(
            "pam",
            format!("/etc/pam.d/{service} does not run the hook, which sshd asks: logins become no sessions"),
            "cotter-agent setup sshd",
        ),
        Order::NoHook => Finding::warning(
            "pam",
            format!("/etc/pam.d/{service} does not run the hook: logins become no sessions"),
            "cotter-agent setup sshd",
        ),
        Order::AtClose => Finding::error(
            "pam",
            "PAM runs the hook when sessions close, too: as root, in an environment that users can set",
            "add type=open_session to its line, as packaging/pam/cotter has it",
        ),
        Order::EnvironmentFirst => Finding::error(
            "pam",
            format!(
                "/etc/pam.d/{service} runs pam_env with user_readenv before the hook: users can deceive it"
            ),
            "move the hook's line directly behind common-session",
        ),
        Order::LeftOut(line) => Finding::error(
            "pam",
            format!(
                "/etc/pam.d/{service} may leave the hook out, by `{line}`: such logins become no sessions"
            ),
            "move the hook's line before that one",
        ),
        Order::GoesOn(line) => Finding::error(
            "pam",
            format!("/etc/pam.d/{service} lets logins in that the hook denies, by `{line}`"),
            "make the hook's line required, as packaging/pam/cotter has it, and let no later line reset what it says",
        ),
    }
}
