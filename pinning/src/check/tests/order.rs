//! Of several broken rules, the one that is reported.

use base64ct::{Base64, Encoding};

use super::*;
use crate::test_certificate::string;

type Breakage = fn(Draft) -> Draft;

/// One way to break each rule, in the order in which they are reported.
fn breakages() -> Vec<(LoginReason, Breakage)> {
    vec![
        (MalformedCertificate, |draft| Draft { key_id: vec![0xff], ..draft }),
        (NotAUserCertificate, |draft| Draft { kind: 2, ..draft }),
        (CaUntrusted, |draft| Draft { authority: Authority::seeded(99), ..draft }),
        // The signature is broken behind the others, by `judge_broken`.
        (SignatureInvalid, |draft| draft),
        (CertificateExpired, |draft| draft.valid(1000, 1400)),
        (CriticalOptionUnknown, |draft| draft.critical("new-option", "")),
        (PrincipalNotAllowed, |draft| draft.principals(&["bob"])),
        (Locked, |draft| draft),
        (RoleUnknown, |draft| draft.extension("roles@cotter", r#"["nobody"]"#)),
        (PinMismatch, |draft| draft.pinned("203.0.113.1")),
    ]
}

fn judge_broken(first: usize, second: usize) -> LoginReason {
    let broken = breakages();
    let is = |reason| broken[first].0 == reason || broken[second].0 == reason;
    let mut draft = Authority::seeded(1).certificate();
    if !is(RoleUnknown) {
        draft = draft.extension("roles@cotter", r#"["plain"]"#);
    }
    draft = (broken[first].1)(draft);
    if first != second {
        draft = (broken[second].1)(draft);
    }
    let signature = if is(SignatureInvalid) { vec![0; 8] } else { draft.signature() };
    let certificate = Base64::encode_string(&[draft.signed_part(), string(&signature)].concat());
    let locks = [lock(LockTarget::Login("alice".into()), None)];
    judge(&certificate, Some(HOME), if is(Locked) { &locks } else { &[] }).verdict.reason()
}

#[test]
fn of_two_broken_rules_the_first_is_reported() {
    let broken = breakages();
    for first in 0..broken.len() {
        for second in first..broken.len() {
            let expected = broken[first].0;
            assert_eq!(judge_broken(first, second), expected, "{expected} and {}", broken[second].0);
        }
    }
}

#[test]
fn the_remaining_pairs_are_in_order() {
    let expired = draft(r#"["plain"]"#).valid(1, 2);
    assert_eq!(
        reason(&expired.clone().pinned("x"), HOME),
        CertificateExpired,
        "time before critical options"
    );
    assert_eq!(reason(&draft("[]").pinned("x"), HOME), SourceAddressInvalid, "critical options before roles");
    assert_eq!(reason(&draft(r#"["plain"]"#).valid(1600, 1700), HOME), CertificateNotYetValid);
    assert_eq!(reason(&draft("[").principals(&["bob"]), HOME), PrincipalNotAllowed, "principal before roles");
    assert_eq!(
        reason(&draft(r#"["ops-only","nobody"]"#), HOME),
        RoleUnknown,
        "known roles before their logins"
    );
    assert_eq!(
        reason(&draft(r#"["ops-only","pinned"]"#), HOME),
        PrincipalNotAllowed,
        "logins before the pin"
    );
    assert_eq!(reason(&draft(r#"["pinned"]"#), None), PinMissing, "rule 1 before rule 4");
    assert_eq!(reason(&draft(r#"["pinned"]"#).pinned("0.0.0.0/0"), None), PinTooWide, "rule 2 before rule 4");
    assert_eq!(
        reason(&draft(r#"["pinned"]"#).pinned("10.0.0.0/8"), HOME),
        PinTooWide,
        "rule 2 before rule 3"
    );
    assert_eq!(judge("", Some(HOME), &[]).verdict.reason(), NoCertificate);
    assert_eq!(judge(&Authority::seeded(1).public_line(), None, &[]).verdict.reason(), NoCertificate);
}
