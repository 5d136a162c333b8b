//! Each rule of the check, and which of two broken rules is reported.

use std::sync::LazyLock;

use base64ct::{Base64, Encoding};
use proptest::prelude::*;

use super::*;
use crate::test_certificate::{Authority, Draft, string};
use crate::{CaKey, LockTarget, Mode, RoleMap, RoleMapEntry, RolesFrom};

const HOME: &str = "198.51.111.1";
const AWAY: &str = "198.51.222.2";

fn no_file(template: &str, login: &str) -> Result<String, String> {
    panic!("nobody asked for {template} of {login}")
}

fn role(name: &str, spec: &str) -> Role {
    let text = format!("kind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    Role::parse_all(&text).unwrap().remove(0)
}

fn roles() -> Vec<Role> {
    vec![
        role("plain", "{}"),
        role("pinned", "{options: {pin_source_ip: true}}"),
        role("pool", "{options: {pin_source_ip: true, pin_width: {ipv4: 24, ipv6: 64}}}"),
        role("wide-unpinned", "{options: {pin_width: {ipv4: 0, ipv6: 0}}}"),
        role("ends", "{options: {disconnect_expired_cert: true}}"),
        role("cut", "{options: {on_new_address: cut, mode: audit}}"),
        role("follow", "{options: {on_new_address: follow, mode: enforce}}"),
        role("keep", "{options: {on_new_address: keep, mode: off}}"),
        role("ops-only", "{allow: {logins: [ops]}}"),
        role("no-deploy", "{deny: {logins: [deploy]}}"),
    ]
}

fn cluster(name: &str, seed: u8) -> Cluster {
    Cluster {
        name: name.to_owned(),
        user_ca: CaKey::parse_all(&Authority::seeded(seed).public_line()).unwrap(),
        roles_from: RolesFrom::Cotter,
        default_roles: Vec::new(),
        role_map: None,
        on_expiry: OnExpiry::Keep,
        principals_file: None,
    }
}

fn map(remote: &str, local: &str) -> Option<RoleMap> {
    Some(RoleMap::new(vec![RoleMapEntry { remote: remote.into(), local: vec![local.into()] }]).unwrap())
}

/// Seed 1: example.com, roles from `roles@cotter`. Seed 2: a trusted cluster. Seed 3: default roles. Seed 4: Teleport.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let root = Cluster { role_map: map("dev-*", "$1"), ..cluster("root.example.com", 2) };
    let default = Cluster {
        roles_from: RolesFrom::Default,
        default_roles: vec!["pinned".into()],
        ..cluster("default.example.com", 3)
    };
    let teleport = Cluster { roles_from: RolesFrom::Teleport, ..cluster("teleport.example.com", 4) };
    Policy::new(vec![cluster("example.com", 1), root, default, teleport], roles()).unwrap()
});

fn draft(roles: &str) -> Draft {
    Authority::seeded(1).certificate().extension("roles@cotter", roles)
}

/// Judges alice's login at second 1500 with no locks.
fn judge_at(draft: &Draft, from: Option<&str>) -> Judgement {
    judge(&draft.text(), from, &[])
}

fn judge(certificate: &str, from: Option<&str>, locks: &[Lock]) -> Judgement {
    let observed = from.map(|from| Observed::direct(from.parse::<crate::Address>().unwrap()));
    POLICY.judge(&Login {
        certificate,
        login: "alice",
        observed,
        now: 1500,
        locks,
        principals_file: &no_file,
    })
}

fn reason(draft: &Draft, from: impl Into<Option<&'static str>>) -> LoginReason {
    judge_at(draft, from.into()).verdict.reason()
}

use LoginReason::*;

#[test]
fn rule_1_a_demanded_pin_must_be_there() {
    assert_eq!(reason(&draft(r#"["pinned"]"#), HOME), PinMissing);
    assert_eq!(reason(&draft(r#"["plain","pinned"]"#), HOME), PinMissing, "any role may demand it");
    assert_eq!(reason(&draft(r#"["plain"]"#), HOME), Allowed);
    assert_eq!(reason(&draft(r#"["pinned"]"#).extension("source-address", HOME), HOME), PinMissing);
}

#[test]
fn rule_2_a_demanded_pin_must_be_narrow_enough() {
    let pinned = |roles, pins| reason(&draft(roles).pinned(pins), HOME);
    assert_eq!(pinned(r#"["pinned"]"#, "198.51.111.1"), Allowed);
    assert_eq!(pinned(r#"["pinned"]"#, "0.0.0.0/0"), PinTooWide);
    assert_eq!(pinned(r#"["pinned"]"#, "198.51.111.0/31"), PinTooWide);
    assert_eq!(pinned(r#"["pinned"]"#, "198.51.111.1,0.0.0.0/0"), PinTooWide);
    assert_eq!(pinned(r#"["pinned"]"#, "198.51.111.1,2001:db8::/64"), PinTooWide);
    assert_eq!(pinned(r#"["pool"]"#, "198.51.111.0/24"), Allowed);
    assert_eq!(pinned(r#"["pool"]"#, "198.51.110.0/23"), PinTooWide);
    assert_eq!(
        pinned(r#"["pool","pinned"]"#, "198.51.111.0/24"),
        PinTooWide,
        "every pinning role's width must hold"
    );
    assert_eq!(pinned(r#"["pinned","wide-unpinned"]"#, "198.51.111.0/24"), PinTooWide);
    assert_eq!(pinned(r#"["plain"]"#, "0.0.0.0/0"), Allowed, "nobody demands a pin");
}

#[test]
fn rule_3_a_pin_holds_whoever_asks_for_it() {
    for roles in [r#"["pinned"]"#, r#"["plain"]"#] {
        assert_eq!(reason(&draft(roles).pinned("198.51.111.1/32"), HOME), Allowed);
        assert_eq!(reason(&draft(roles).pinned("198.51.111.1/32"), AWAY), PinMismatch);
    }
    let both = draft(r#"["pinned"]"#).pinned("198.51.111.1,2001:db8::1");
    assert_eq!(reason(&both, "2001:db8::1"), Allowed);
    assert_eq!(reason(&both, "2001:db8::2"), PinMismatch);
}

#[test]
fn rule_4_a_pin_needs_an_observed_address() {
    assert_eq!(reason(&draft(r#"["plain"]"#).pinned("198.51.111.1/32"), None), ObservedAddressUnknown);
    assert_eq!(reason(&draft(r#"["plain"]"#).pinned("0.0.0.0/0"), None), ObservedAddressUnknown);
    assert_eq!(reason(&draft(r#"["pinned"]"#).pinned("198.51.111.1/32"), None), ObservedAddressUnknown);
    assert_eq!(reason(&draft(r#"["plain"]"#), None), Allowed);
}

#[test]
fn rule_5_roles_must_be_there_and_known() {
    assert_eq!(reason(&draft("[]"), HOME), NoRoles);
    assert_eq!(reason(&draft(r#"[""]"#), HOME), NoRoles);
    assert_eq!(reason(&Authority::seeded(1).certificate(), HOME), NoRoles);
    assert_eq!(reason(&draft(r#"["plain","nobody"]"#), HOME), RoleUnknown);
    assert_eq!(reason(&draft(r#"["Plain"]"#), HOME), RoleUnknown);
}

#[test]
fn rule_6_addresses_are_compared_parsed() {
    let pinned = |pins| draft(r#"["plain"]"#).pinned(pins);
    assert_eq!(reason(&pinned("198.51.111.1/32"), "::ffff:198.51.111.1"), Allowed);
    assert_eq!(reason(&pinned("2001:DB8:0:0::1"), "2001:db8::1"), Allowed);
    assert_eq!(reason(&pinned("198.51.111.10"), HOME), PinMismatch, "no comparison of text");
    assert_eq!(reason(&pinned("::ffff:198.51.111.1/128"), HOME), PinMismatch, "as in sshd");
    assert_eq!(reason(&pinned("::/0"), HOME), PinMismatch);
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

fn lock(target: LockTarget, until: Option<u64>) -> Lock {
    Lock { id: "L1".into(), target, until, reason: String::new(), created: 0 }
}

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

#[test]
fn the_pin_in_use_comes_first_in_the_terms() {
    let judgement = judge_at(&draft(r#"["plain"]"#).pinned("10.0.0.0/8,198.51.111.0/24"), Some(HOME));
    assert_eq!(judgement.terms.unwrap().pins.unwrap().to_string(), "198.51.111.0/24,10.0.0.0/8");
    assert_eq!(judgement.pinned.unwrap().to_string(), "10.0.0.0/8,198.51.111.0/24");
}

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

#[test]
fn the_longest_certificates_are_refused() {
    let many: String = (0..256).map(|n| format!(",{}", n.to_string().repeat(20))).collect();
    let huge = draft(&format!("[\"x\"{}]", ",\"x\"".repeat(8000))).critical("force-command", &many.repeat(3));
    for text in [huge.text(), "A".repeat(crate::MAX_CERTIFICATE_TEXT)] {
        assert_eq!(judge(&text, Some(HOME), &[]).verdict.reason(), MalformedCertificate);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Whatever is changed in a certificate's bytes, nobody gets in who did not before, and nobody with another text.
    #[test]
    fn no_damage_allows_a_login(
        pinned in any::<bool>(), at in 0..800usize, cut in 0..9usize, put in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let sound = draft(r#"["pinned"]"#);
        let sound = if pinned { sound.pinned(HOME) } else { sound };
        let blob = sound.blob();
        let at = at.min(blob.len());
        let end = (at + cut).min(blob.len());
        let damaged = [&blob[..at], &put, &blob[end..]].concat();
        let verdict = judge(&Base64::encode_string(&damaged), Some(HOME), &[]).verdict;
        prop_assert_eq!(verdict.is_allow(), pinned && damaged == blob);
    }

    /// The same for the text; what decodes to the same bytes is the same certificate.
    #[test]
    fn no_damaged_text_allows_a_login(at in 0..800usize, cut in 0..3usize, put in "[ -~\n]{0,3}") {
        let sound = draft(r#"["plain"]"#).pinned(HOME);
        let text = sound.text();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        let damaged = format!("{}{put}{}", &text[..at], &text[end..]);
        let same = Certificate::parse(&damaged).ok() == Certificate::parse(&text).ok();
        prop_assert_eq!(judge(&damaged, Some(HOME), &[]).verdict.is_allow(), same);
    }

    /// Rules 1 to 4 against their plain statement.
    #[test]
    fn the_pin_rules_are_their_plain_statement(
        demanded in any::<bool>(),
        pins in prop::option::of(prop::collection::vec((any::<[u8; 4]>(), 24..=32u8), 1..4)),
        near in any::<bool>(),
        from in prop::option::of(any::<[u8; 4]>()),
    ) {
        let networks: Option<Vec<ipnet::Ipv4Net>> = pins.map(|pins| {
            pins.into_iter().map(|(bytes, bits)| ipnet::Ipv4Net::new(bytes.into(), bits).unwrap().trunc()).collect()
        });
        let from = match (&networks, from) {
            (Some(networks), Some(_)) if near => Some(networks[0].broadcast()),
            (_, from) => from.map(std::net::Ipv4Addr::from),
        };
        let mut sound = draft(if demanded { r#"["pinned"]"# } else { r#"["plain"]"# });
        if let Some(networks) = &networks {
            sound = sound.pinned(&networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        }
        let expected = match (&networks, from) {
            (None, _) if demanded => PinMissing,
            (None, _) => Allowed,
            (Some(networks), _) if demanded && networks.iter().any(|net| net.prefix_len() < 32) => PinTooWide,
            (Some(_), None) => ObservedAddressUnknown,
            (Some(networks), Some(from)) if networks.iter().any(|net| net.contains(&from)) => Allowed,
            (Some(_), Some(_)) => PinMismatch,
        };
        let from = from.map(|from| from.to_string());
        prop_assert_eq!(judge(&sound.text(), from.as_deref(), &[]).verdict.reason(), expected);
    }
}
