//! `allow.logins` and `deny.logins`: which logins the roles speak of.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::principal::Admitted;
use crate::{Denial, LoginReason, Role};

/// One entry of `allow.logins` or `deny.logins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginPattern {
    /// `*` alone: any login.
    Any,
    /// The login of this very name.
    Literal(String),
    /// A template such as `{{internal.logins}}` or `adm-{{external.name}}`: any principal that the certificate itself
    /// carries, if it begins and ends with what stands around the braces.
    Principal {
        /// What stands before the braces.
        prefix: String,
        /// What stands behind them.
        suffix: String,
    },
}

impl FromStr for LoginPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("a login is empty");
        }
        if text == "*" {
            return Ok(Self::Any);
        }
        let unclosed = "a template's braces are not closed";
        match text.split_once("{{") {
            None if text.contains("}}") => Err(unclosed),
            None => Ok(Self::Literal(text.to_owned())),
            Some((prefix, rest)) => {
                let (_, suffix) = rest.rsplit_once("}}").ok_or(unclosed)?;
                Ok(Self::Principal { prefix: prefix.to_owned(), suffix: suffix.to_owned() })
            }
        }
    }
}

impl LoginPattern {
    fn matches(&self, login: &str, admitted: &Admitted) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(name) => name == login,
            Self::Principal { prefix, suffix } => {
                let rest = admitted.principal.strip_prefix(prefix.as_str());
                rest.is_some_and(|rest| rest.ends_with(suffix.as_str()))
            }
        }
    }
}

/// Whether the roles allow a login to which a principal already admits: none of them denies it, and one of them allows
/// it. A role without `allow.logins` says nothing about logins; if no role has it, the principals decide alone.
///
/// # Errors
/// `principal_not_allowed`.
pub(crate) fn require_allowed(roles: &[&Role], login: &str, admitted: &Admitted) -> Result<(), Denial> {
    let not_allowed = |detail| Err(Denial::new(LoginReason::PrincipalNotAllowed, detail));
    let matches = |pattern: &LoginPattern| pattern.matches(login, admitted);
    if let Some(role) = roles.iter().find(|role| role.deny_logins.iter().any(matches)) {
        return not_allowed(format!("role {:?} denies login {login:?}", role.name));
    }
    let mut lists = roles.iter().filter_map(|role| role.allow_logins.as_ref()).peekable();
    if lists.peek().is_some() && !lists.flatten().any(matches) {
        return not_allowed(format!("no role allows login {login:?}"));
    }
    Ok(())
}

/// The logins that roles give somebody whose own are `own`: those, the ones that roles name, and what templates make of their
/// own, as far as the roles allow them; each once, in order.
pub fn logins_of(roles: &[&Role], own: &[String]) -> Vec<String> {
    let patterns = roles.iter().filter_map(|role| role.allow_logins.as_ref()).flatten();
    let named = patterns.flat_map(|pattern| match pattern {
        LoginPattern::Any => Vec::new(),
        LoginPattern::Literal(name) => vec![name.clone()],
        LoginPattern::Principal { prefix, suffix } => {
            own.iter().map(|login| format!("{prefix}{login}{suffix}")).collect()
        }
    });
    let logins: BTreeSet<String> = own.iter().cloned().chain(named).collect();
    let allowed = |login: &String| {
        let admitted = Admitted { principal: login.clone(), line: login.clone() };
        require_allowed(roles, login, &admitted).is_ok()
    };
    logins.into_iter().filter(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(specs: &[&str]) -> Vec<Role> {
        let role = |(index, spec): (usize, &&str)| {
            let text = format!("kind: role\nversion: v7\nmetadata: {{name: r{index}}}\nspec: {spec}\n");
            Role::parse_all(&text).unwrap().remove(0)
        };
        specs.iter().enumerate().map(role).collect()
    }

    fn allows(specs: &[&str], login: &str) -> bool {
        let roles = roles(specs);
        let admitted = Admitted { principal: login.to_owned(), line: login.to_owned() };
        require_allowed(&roles.iter().collect::<Vec<_>>(), login, &admitted).is_ok()
    }

    #[test]
    fn roles_that_say_nothing_leave_it_to_the_principals() {
        assert!(allows(&["{}"], "alice"));
        assert!(allows(&["{allow: {}}", "{allow: {logins: }}"], "alice"));
    }

    #[test]
    fn one_role_must_allow_the_login_if_any_speaks_of_logins() {
        assert!(allows(&["{}", "{allow: {logins: [bob]}}", "{allow: {logins: [alice]}}"], "alice"));
        assert!(!allows(&["{}", "{allow: {logins: [bob]}}"], "alice"));
        assert!(!allows(&["{allow: {logins: []}}"], "alice"));
        assert!(!allows(&["{allow: {logins: [ali*]}}"], "alice"));
        assert!(allows(&["{allow: {logins: ['*']}}"], "alice"));
    }

    #[test]
    fn a_denied_login_is_denied_whoever_allows_it() {
        assert!(!allows(&["{allow: {logins: [alice]}}", "{deny: {logins: [alice]}}"], "alice"));
        assert!(!allows(&["{allow: {logins: [alice]}}", "{deny: {logins: ['*']}}"], "alice"));
        assert!(!allows(&["{deny: {logins: [alice]}}"], "alice"));
        assert!(allows(&["{deny: {logins: [root]}}"], "alice"));
    }

    #[test]
    fn templates_stand_for_the_certificates_principals() {
        assert!(allows(&["{allow: {logins: ['{{internal.logins}}']}}"], "alice"));
        assert!(allows(&["{allow: {logins: ['adm-{{external.name}}']}}"], "adm-alice"));
        assert!(!allows(&["{allow: {logins: ['adm-{{external.name}}']}}"], "alice"));
        assert!(allows(&["{allow: {logins: ['{{email.local(external.email)}}-x']}}"], "alice-x"));
        assert!(
            !allows(&["{allow: {logins: ['aa{{external.name}}aa']}}"], "aaa"),
            "the two ends must not overlap"
        );
        assert!(!allows(&["{deny: {logins: ['{{internal.logins}}']}}"], "alice"));
    }

    #[test]
    fn broken_templates_are_errors() {
        for text in ["", "{{internal.logins", "internal.logins}}", "}}x{{"] {
            assert!(text.parse::<LoginPattern>().is_err(), "{text:?}");
        }
    }

    fn given(specs: &[&str], own: &[&str]) -> Vec<String> {
        let own: Vec<String> = own.iter().map(|login| (*login).to_owned()).collect();
        logins_of(&roles(specs).iter().collect::<Vec<_>>(), &own)
    }

    #[test]
    fn somebodys_logins_are_their_own_and_those_that_roles_name_if_the_roles_allow_them() {
        assert_eq!(given(&["{}"], &["alice"]), ["alice"]);
        assert_eq!(given(&["{allow: {logins: [deploy]}}"], &["alice"]), ["deploy"]);
        assert_eq!(
            given(&["{allow: {logins: [deploy, '{{internal.logins}}']}}"], &["alice"]),
            ["alice", "deploy"]
        );
        assert_eq!(given(&["{allow: {logins: ['*']}}"], &["bob", "alice", "bob"]), ["alice", "bob"]);
        assert_eq!(
            given(&["{allow: {logins: [root, deploy]}}", "{deny: {logins: [root]}}"], &["alice"]),
            ["deploy"]
        );
        assert_eq!(given(&["{allow: {logins: ['adm-{{internal.logins}}']}}"], &["alice"]), ["adm-alice"]);
        assert!(given(&["{allow: {logins: []}}"], &["alice"]).is_empty());
        assert!(given(&[], &[]).is_empty());
    }
}
