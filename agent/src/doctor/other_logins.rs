//! Ways in by nothing that is a key: passwords, what PAM asks at the keyboard, Kerberos, other hosts' words.

use super::{Finding, Node};
use crate::setup::sshd::Effective;

const ID: &str = "other-logins";
/// Which of them suffice.
const SUFFICE: &str = "authenticationmethods";
/// sshd's names for the methods, and the keywords that switch them on.
const METHODS: [(&str, &str); 6] = [
    ("password", "passwordauthentication"),
    ("keyboard-interactive", "kbdinteractiveauthentication"),
    ("gssapi-with-mic", "gssapiauthentication"),
    ("gssapi-keyex", "gssapikeyexchange"),
    ("hostbased", "hostbasedauthentication"),
    ("none", "permitemptypasswords"),
];

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let Ok(sshd) = &node.sshd else { return Vec::new() };
    let keywords: Vec<&str> = METHODS.iter().map(|(_, keyword)| *keyword).chain([SUFFICE]).collect();
    let well = Finding::ok(ID, "logins without any key get in as agent.toml has it");
    sshd.look(&keywords, well, |name, effective| passed_by(node, name, effective))
}

/// They are no fault: somebody may need them. That they count, or do not, is for agent.toml to say.
fn passed_by(node: &Node, name: &str, effective: &Effective) -> Option<Finding> {
    let said = node.config.as_ref().ok().and_then(|config| config.other_logins_said);
    let ways = ways_in(|keyword| effective.value(keyword));
    if ways.is_empty() || said.is_some() {
        return None;
    }
    let what = format!("{name}: {} logins get in without a certificate, from anywhere", ways.join(" and "));
    let remedy = "switch them off in sshd_config, or say whether they may in agent.toml, with other_logins = \"deny\" or \
                  \"allow\"";
    Some(Finding::warning(ID, what, remedy))
}

/// What lets somebody in without a key; several methods that are asked for together are joined by commas, as sshd has
/// it.
fn ways_in<'a>(value: impl Fn(&str) -> &'a str) -> Vec<&'a str> {
    // A method may be named with its device, as in keyboard-interactive:pam.
    let is_on = |method: &str| {
        let method = method.split(':').next().unwrap_or_default();
        METHODS.iter().any(|(name, keyword)| *name == method && value(keyword) == "yes")
    };
    match value(SUFFICE) {
        "any" | "none" => METHODS.map(|(name, _)| name).into_iter().filter(|name| is_on(name)).collect(),
        lists => lists.split_whitespace().filter(|list| list.split(',').all(is_on)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With these methods sufficing, and these keywords set.
    fn with(suffice: &'static str, on: &[&str]) -> Vec<&'static str> {
        ways_in(|keyword| match keyword {
            SUFFICE => suffice,
            keyword if on.contains(&keyword) => "yes",
            _others => "no",
        })
    }

    #[test]
    fn only_what_suffices_without_a_key_is_a_way_in() {
        let (password, keyboard) = ("passwordauthentication", "kbdinteractiveauthentication");
        assert!(with("any", &[]).is_empty());
        assert_eq!(with("any", &["hostbasedauthentication", password]), ["password", "hostbased"]);
        assert!(with("publickey publickey,password", &[password]).is_empty());
        assert_eq!(with("publickey password", &[password]), ["password"]);
        let both = "password,keyboard-interactive:pam";
        assert_eq!(with(both, &[password, keyboard]), [both]);
        assert!(with(both, &[password]).is_empty(), "sshd takes no list with a method that is off");
    }
}
