//! What a judgement says beside its reason.

use super::*;

#[test]
fn a_judgement_says_as_much_as_could_be_read() {
    let expired = judge_at(&draft(r#"["pinned"]"#).pinned(HOME).valid(1, 2), Some(HOME));
    assert_eq!(expired.pinned.unwrap().to_string(), "198.51.111.1/32");
    assert_eq!(expired.identity.unwrap().cluster.as_deref(), Some("example.com"));
    assert_eq!(expired.detail, "expired 1498 s ago");
    assert!(expired.terms.is_none() && expired.roles.is_empty());
    let stranger = judge_at(&Authority::seeded(99).certificate(), Some(HOME));
    assert_eq!(stranger.identity.unwrap().cluster, None);
    let broken = judge("hello", Some(HOME), &[]);
    assert_eq!(broken.identity, None);
    let mismatch = judge_at(&draft(r#"["pinned"]"#).pinned(HOME), Some(AWAY));
    assert_eq!(
        mismatch.detail,
        "the certificate is pinned to 198.51.111.1/32, the client is at 198.51.222.2 (direct)"
    );
}

#[test]
fn the_detail_of_long_lists_is_cut_short() {
    let names: Vec<_> = (0..200).map(|number| format!("alice-{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let denied = judge_at(&draft(r#"["plain"]"#).principals(&names), None);
    assert_eq!(denied.verdict.reason(), PrincipalNotAllowed);
    assert_eq!(denied.detail.chars().count(), 501);
    assert!(denied.detail.ends_with('…'));
}

#[test]
fn json_has_the_shape_that_scripts_rely_on() {
    let allowed = judge_at(&draft(r#"["pinned"]"#).pinned(HOME), Some(HOME));
    assert_eq!(
        serde_json::to_string(&allowed).unwrap(),
        r#"{"verdict":"allow","reason":"allowed","cluster":"example.com","user":"alice","roles":["pinned"],"pinned":["198.51.111.1/32"],"observed":"198.51.111.1"}"#
    );
    let broken = judge("hello", None, &[]);
    assert_eq!(
        serde_json::to_string(&broken).unwrap(),
        r#"{"verdict":"deny","reason":"malformed_certificate","cluster":null,"user":null,"roles":[],"pinned":[],"observed":null}"#
    );
    assert_eq!(allowed.to_json()["reason"], "allowed");
}
