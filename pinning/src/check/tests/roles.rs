//! Rules about roles: where they come from, which count, and what they ask for.

use super::*;
use crate::Mode;

#[test]
fn rule_5_roles_must_be_there_and_known() {
    assert_eq!(reason(&draft("[]"), HOME), NoRoles);
    assert_eq!(reason(&draft(r#"[""]"#), HOME), NoRoles);
    assert_eq!(reason(&Authority::seeded(1).certificate(), HOME), NoRoles);
    assert_eq!(reason(&draft(r#"["plain","nobody"]"#), HOME), RoleUnknown);
    assert_eq!(reason(&draft(r#"["Plain"]"#), HOME), RoleUnknown);
}

#[test]
fn rule_7_a_trusted_clusters_roles_count_only_through_its_map() {
    let root = |roles| Authority::seeded(2).certificate().extension("roles@cotter", roles);
    let judgement = judge_at(&root(r#"["dev-plain","pinned","dev-plain"]"#), Some(HOME));
    assert_eq!(judgement.verdict, Verdict::Allow);
    assert_eq!(judgement.roles, ["plain"]);
    assert_eq!(judgement.identity.unwrap().cluster.as_deref(), Some("root.example.com"));
    assert_eq!(reason(&root(r#"["dev-pinned"]"#), HOME), PinMissing);
    assert_eq!(reason(&root(r#"["dev-pinned"]"#).pinned(HOME), HOME), Allowed);
    assert_eq!(reason(&root(r#"["pinned","plain"]"#), HOME), NoRoles);
    assert_eq!(reason(&root(r#"["dev-"]"#), HOME), NoRoles, "an empty local name is dropped");
    assert_eq!(reason(&root(r#"["dev-nobody"]"#), HOME), RoleUnknown);
}

#[test]
fn roles_come_from_where_the_cluster_says() {
    let both = |seed| {
        let extensions = Authority::seeded(seed).certificate().extension("roles@cotter", r#"["plain"]"#);
        extensions.extension("teleport-roles", r#"{"version":"v1","roles":["ends","plain","ends"]}"#)
    };
    let roles_of = |draft| judge_at(&draft, Some(HOME)).roles;
    assert_eq!(roles_of(both(1)), ["plain"]);
    assert_eq!(roles_of(both(4)), ["ends", "plain"]);
    assert_eq!(roles_of(both(3)), ["pinned"], "a user may have set the extensions");
    assert_eq!(reason(&both(3), HOME), PinMissing);
    assert_eq!(reason(&Authority::seeded(4).certificate(), HOME), NoRoles);
    let teleport = |value| Authority::seeded(4).certificate().extension("teleport-roles", value);
    assert_eq!(reason(&teleport(r#"{"version":"v1","roles":null}"#), HOME), NoRoles);
    assert_eq!(reason(&teleport("{}"), HOME), NoRoles);
}

#[test]
fn an_unreadable_roles_extension_is_a_malformed_certificate() {
    for value in
        ["", "plain", "{}", r#"{"roles":["plain"]}"#, r#"["plain"] x"#, r#"["plain",1]"#, "[[", "null x"]
    {
        assert_eq!(reason(&draft(value), HOME), MalformedCertificate, "{value}");
    }
    let teleport = |value| Authority::seeded(4).certificate().extension("teleport-roles", value);
    assert_eq!(reason(&teleport(r#"{"roles":"plain"}"#), HOME), MalformedCertificate);
    assert_eq!(reason(&teleport(r#"["plain"]"#), HOME), MalformedCertificate);
    let raw = Authority::seeded(1).certificate().extension_raw("roles@cotter", br#"["plain"]"#);
    assert_eq!(reason(&raw, HOME), MalformedCertificate, "the value is a string nested in the data");
    let many = |count| format!("[{}]", vec![r#""plain""#; count].join(","));
    assert_eq!(reason(&draft(&many(256)), HOME), Allowed);
    assert_eq!(reason(&draft(&many(257)), HOME), MalformedCertificate);
    assert_eq!(reason(&draft(&"[".repeat(10_000)), HOME), MalformedCertificate);
}

#[test]
fn the_session_ends_with_the_certificate_if_a_role_or_the_cluster_says_so() {
    let ends_at = |draft: &Draft| judge_at(draft, None).terms.unwrap().ends_at;
    assert_eq!(ends_at(&draft(r#"["plain"]"#)), None);
    assert_eq!(ends_at(&draft(r#"["plain","ends"]"#)), Some(2000));
    assert_eq!(ends_at(&draft(r#"["ends"]"#).valid(0, u64::MAX)), None, "forever does not end");
    let cutting = Cluster { on_expiry: OnExpiry::Cut, ..cluster("example.com", 1) };
    let policy = Policy::new(vec![cutting], roles()).unwrap();
    let certificate = draft(r#"["plain"]"#).text();
    let login = Login {
        certificate: &certificate,
        login: "alice",
        observed: None,
        now: 1500,
        locks: &[],
        principals_file: &no_file,
    };
    assert_eq!(policy.judge(&login).terms.unwrap().ends_at, Some(2000));
}

#[test]
fn the_strictest_role_sets_the_terms() {
    let terms = |roles| judge_at(&draft(roles), None).terms.unwrap();
    let of = |roles| (terms(roles).on_new_address, terms(roles).mode);
    assert_eq!(of(r#"["plain"]"#), (OnNewAddress::Keep, None));
    assert_eq!(of(r#"["follow","plain"]"#), (OnNewAddress::Follow, Some(Mode::Enforce)));
    assert_eq!(of(r#"["follow","keep"]"#), (OnNewAddress::Keep, Some(Mode::Enforce)));
    assert_eq!(of(r#"["keep","cut"]"#), (OnNewAddress::Cut, Some(Mode::Audit)));
    assert_eq!(of(r#"["keep"]"#), (OnNewAddress::Keep, Some(Mode::Off)));
}
