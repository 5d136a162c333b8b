//! Knocks: what of the rules holds where no login is named.

use super::*;

fn knock_with(draft: &Draft, from: &str, locks: &[Lock]) -> Judgement {
    let observed = Observed::direct(from.parse::<crate::Address>().unwrap());
    POLICY.judge_knock(&Knocker { certificate: &draft.blob(), observed, now: 1500, locks })
}

fn knock(draft: &Draft, from: &str) -> LoginReason {
    knock_with(draft, from, &[]).verdict.reason()
}

#[test]
fn all_rules_hold_but_those_about_login_names() {
    let plain = || draft(r#"["plain"]"#);
    for (draft, expected) in [
        (plain(), Allowed),
        (plain().principals(&[]), Allowed),
        (draft(r#"["ops-only"]"#), Allowed),
        (Draft { key_id: vec![0xff], ..plain() }, MalformedCertificate),
        (Draft { kind: 2, ..plain() }, NotAUserCertificate),
        (Draft { authority: Authority::seeded(99), ..plain() }, CaUntrusted),
        (plain().valid(1000, 1400), CertificateExpired),
        (plain().valid(1600, 1700), CertificateNotYetValid),
        (plain().critical("new-option", ""), CriticalOptionUnknown),
        (plain().pinned("x"), SourceAddressInvalid),
        (draft("[]"), NoRoles),
        (draft(r#"["nobody"]"#), RoleUnknown),
        (draft(r#"["pinned"]"#), PinMissing),
        (draft(r#"["pinned"]"#).pinned("198.51.111.0/24"), PinTooWide),
        (draft(r#"["pinned"]"#).pinned(HOME), Allowed),
        (plain().pinned(AWAY), PinMismatch),
    ] {
        assert_eq!(knock(&draft, HOME), expected);
    }
    let forged = [draft(r#"["plain"]"#).signed_part(), crate::test_certificate::string(&[0; 8])].concat();
    let observed = Observed::direct(HOME.parse::<crate::Address>().unwrap());
    let forged = POLICY.judge_knock(&Knocker { certificate: &forged, observed, now: 1500, locks: &[] });
    assert_eq!(forged.verdict.reason(), SignatureInvalid);
}

#[test]
fn who_is_locked_may_not_knock_and_a_login_s_lock_waits_for_the_login() {
    let locked = |target| {
        let judgement = knock_with(&draft(r#"["plain"]"#), HOME, &[lock(target, None)]);
        (judgement.verdict.reason(), judgement.lock)
    };
    let denied = (Locked, Some("L1".to_owned()));
    assert_eq!(locked(LockTarget::user("example.com/alice").unwrap()), denied);
    assert_eq!(locked(LockTarget::Serial { serial: 7, cluster: None }), denied);
    assert_eq!(locked(LockTarget::Address("198.51.111.0/24".parse().unwrap())), denied);
    assert_eq!(locked(LockTarget::user("example.com/bob").unwrap()), (Allowed, None));
    assert_eq!(locked(LockTarget::Login("alice".into())), (Allowed, None));
}

#[test]
fn it_is_known_who_knocks_and_there_are_no_terms() {
    let judgement = knock_with(&draft(r#"["plain"]"#).pinned(HOME), HOME, &[]);
    let identity = judgement.identity.unwrap();
    assert_eq!((identity.cluster.as_deref(), &*identity.key_id), (Some("example.com"), "alice"));
    assert_eq!(judgement.roles, ["plain"]);
    assert_eq!(judgement.observed.unwrap().address.to_string(), HOME);
    assert_eq!(judgement.terms, None);
}
