//! Locks: whom they mean.

use super::*;

#[test]
fn rule_8_a_person_is_cluster_and_key_id() {
    let certificate = draft(r#"["plain"]"#).text();
    let locked = |target, until| judge(&certificate, Some(HOME), &[lock(target, until)]).verdict.reason();
    let user = |text| LockTarget::user(text).unwrap();
    assert_eq!(locked(user("example.com/alice"), None), Locked);
    assert_eq!(locked(user("example.com/alice"), Some(1501)), Locked);
    assert_eq!(locked(user("example.com/alice"), Some(1500)), Allowed);
    assert_eq!(locked(user("root.example.com/alice"), None), Allowed);
    assert_eq!(locked(user("example.com/bob"), None), Allowed);
    assert_eq!(locked(LockTarget::Login("alice".into()), None), Locked);
    assert_eq!(locked(LockTarget::Login("bob".into()), None), Allowed);
    assert_eq!(locked(LockTarget::Serial { serial: 7, cluster: None }, None), Locked);
    assert_eq!(locked(LockTarget::Serial { serial: 8, cluster: None }, None), Allowed);
    assert_eq!(locked(LockTarget::Address("198.51.111.0/24".parse().unwrap()), None), Locked);
    assert_eq!(locked(LockTarget::Session("alice".into()), None), Allowed);
}

#[test]
fn a_lock_is_named() {
    let locks = [
        lock(LockTarget::Login("bob".into()), None),
        Lock { id: "L2".into(), ..lock(LockTarget::user("example.com/alice").unwrap(), None) },
    ];
    let judgement = judge(&draft(r#"["plain"]"#).text(), Some(HOME), &locks);
    assert_eq!(judgement.lock.as_deref(), Some("L2"));
    assert_eq!(judgement.detail, "lock L2 on user example.com/alice");
}
