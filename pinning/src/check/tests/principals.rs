//! Principals: which logins a certificate is for.

use super::*;

#[test]
fn roles_may_narrow_the_logins() {
    assert_eq!(reason(&draft(r#"["plain","ops-only"]"#), HOME), PrincipalNotAllowed);
    assert_eq!(reason(&draft(r#"["no-deploy"]"#), HOME), Allowed);
    let certificate = draft(r#"["no-deploy"]"#).text();
    let login = Login {
        certificate: &certificate,
        login: "deploy",
        observed: None,
        now: 1500,
        locks: &[],
        principals_file: &no_file,
    };
    assert_eq!(POLICY.judge(&login).verdict.reason(), PrincipalNotAllowed);
}

#[test]
fn a_principals_file_decides_alone() {
    let cluster =
        Cluster { principals_file: Some("/etc/ssh/auth_principals/%u".into()), ..cluster("example.com", 1) };
    let policy = Policy::new(vec![cluster], roles()).unwrap();
    let judge = |login: &str, file: &dyn Fn(&str, &str) -> Result<String, String>| {
        let certificate = draft(r#"["plain"]"#).principals(&["alice@example.com", "root"]).text();
        policy.judge(&Login {
            certificate: &certificate,
            login,
            observed: None,
            now: 1500,
            locks: &[],
            principals_file: file,
        })
    };
    let ours = |template: &str, login: &str| {
        assert_eq!((template, login), ("/etc/ssh/auth_principals/%u", "alice"));
        Ok("bob\nno-pty alice@example.com # her\n".to_owned())
    };
    let judgement = judge("alice", &ours);
    assert_eq!(judgement.terms.unwrap().principal_line, "no-pty alice@example.com");
    let empty = judge("root", &|_, _| Ok(String::new()));
    assert_eq!(
        empty.verdict.reason(),
        PrincipalNotAllowed,
        "root is a principal, but the file does not name it"
    );
    let unreadable = judge("alice", &|_, _| Err("permission denied".into()));
    assert_eq!(unreadable.verdict.reason(), PrincipalNotAllowed);
    assert_eq!(unreadable.detail, "the principals file: permission denied");
}

#[test]
fn the_principal_decides_without_a_file() {
    let alice = judge_at(&draft(r#"["plain"]"#), None);
    assert_eq!(alice.terms.unwrap().principal_line, "alice");
    assert_eq!(reason(&draft(r#"["plain"]"#).principals(&["bob"]), None), PrincipalNotAllowed);
    assert_eq!(reason(&draft(r#"["plain"]"#).principals(&[]), None), PrincipalNotAllowed);
}
