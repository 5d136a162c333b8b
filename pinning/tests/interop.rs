//! Certificates of other programs, judged: those of `tests/interop`, at a time when all but one of them are valid.
#![allow(clippy::unwrap_used, reason = "an error where none may be is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use pinning::{CaKey, Cluster, Judgement, Login, Observed, OnExpiry, Policy, Role, RolesFrom};

/// 2030.
const NOW: u64 = 1_893_456_000;

const ALICE: &str = "198.51.111.1";
const ALICE_V6: &str = "2001:db8:111::1";
const ELSEWHERE: &str = "198.51.222.2";

/// Roles by default: one that asks for nothing, and one that pins.
const OPEN: Roles = Roles::Default("open");
const PINNED: Roles = Roles::Default("pinned-ip");
const TELEPORT: Roles = Roles::From(RolesFrom::Teleport);
const COTTER: Roles = Roles::From(RolesFrom::Cotter);

#[derive(Clone, Copy, Debug)]
enum Roles {
    Default(&'static str),
    From(RolesFrom),
}

/// A certificate, its authority, where roles come from, where it is used, and what is said.
type Case = (&'static str, &'static str, Roles, &'static str, &'static str);

const KEYGEN: [Case; 28] = [
    ("keygen-by-ed25519", "keygen-ed25519", OPEN, ALICE, "allowed"),
    ("keygen-by-ed25519", "keygen-ecdsa256", OPEN, ALICE, "ca_untrusted"),
    ("keygen-by-ed25519", "keygen-ed25519", PINNED, ALICE, "pin_missing"),
    ("keygen-by-ed25519", "keygen-ed25519", COTTER, ALICE, "no_roles"),
    ("keygen-by-ecdsa256", "keygen-ecdsa256", OPEN, ALICE, "allowed"),
    ("keygen-by-ecdsa384", "keygen-ecdsa384", OPEN, ALICE, "allowed"),
    ("keygen-by-ecdsa521", "keygen-ecdsa521", OPEN, ALICE, "allowed"),
    ("keygen-by-rsa", "keygen-rsa", OPEN, ALICE, "allowed"),
    ("keygen-by-rsa-sha256", "keygen-rsa", OPEN, ALICE, "allowed"),
    ("keygen-by-rsa-sha1", "keygen-rsa", OPEN, ALICE, "signature_invalid"),
    ("keygen-of-ecdsa256", "keygen-ed25519", OPEN, ALICE, "allowed"),
    ("keygen-of-ecdsa384", "keygen-ed25519", OPEN, ALICE, "allowed"),
    ("keygen-of-ecdsa521", "keygen-ed25519", OPEN, ALICE, "allowed"),
    ("keygen-of-rsa", "keygen-ed25519", OPEN, ALICE, "allowed"),
    ("keygen-clear", "keygen-ed25519", OPEN, ALICE, "allowed"),
    ("keygen-no", "keygen-ed25519", OPEN, ALICE, "allowed"),
    ("keygen-permit", "keygen-ed25519", OPEN, ALICE, "allowed"),
    ("keygen-force-command", "keygen-ed25519", OPEN, ALICE, "allowed"),
    ("keygen-verify-required", "keygen-ed25519", OPEN, ALICE, "allowed"),
    ("keygen-pinned", "keygen-ed25519", PINNED, ALICE, "allowed"),
    ("keygen-pinned", "keygen-ed25519", OPEN, ELSEWHERE, "pin_mismatch"),
    ("keygen-pinned-list", "keygen-ed25519", PINNED, ALICE_V6, "allowed"),
    ("keygen-pinned-wide", "keygen-ed25519", PINNED, ALICE, "pin_too_wide"),
    ("keygen-own-extension", "keygen-ed25519", COTTER, ALICE, "allowed"),
    ("keygen-own-critical", "keygen-ed25519", OPEN, ALICE, "critical_option_unknown"),
    ("keygen-host", "keygen-ed25519", OPEN, ALICE, "not_a_user_certificate"),
    ("keygen-nobody", "keygen-ed25519", OPEN, ALICE, "principal_not_allowed"),
    ("keygen-forever", "keygen-ed25519", OPEN, ALICE, "allowed"),
];

const OTHERS: [Case; 21] = [
    ("keygen-expired", "keygen-ed25519", OPEN, ALICE, "certificate_expired"),
    ("openbao-by-ed25519", "openbao-ed25519", OPEN, ALICE, "allowed"),
    ("openbao-by-ed25519", "openbao-ed25519", PINNED, ALICE, "pin_missing"),
    ("openbao-by-ssh-rsa", "openbao-ssh-rsa", OPEN, ALICE, "allowed"),
    ("openbao-by-ecdsa-sha2-nistp256", "openbao-ecdsa-sha2-nistp256", OPEN, ALICE, "allowed"),
    ("openbao-pinned", "openbao-ed25519", PINNED, ALICE, "allowed"),
    ("openbao-pinned", "openbao-ed25519", PINNED, ELSEWHERE, "pin_mismatch"),
    // Its user chose the extensions: what they claim is nothing where roles are the cluster's.
    ("openbao-claims-roles", "openbao-ed25519", PINNED, ALICE, "pin_missing"),
    ("openbao-claims-roles", "openbao-ed25519", COTTER, ALICE, "allowed"),
    ("step-default", "step-ecdsa256", OPEN, ALICE, "allowed"),
    ("step-default", "step-ecdsa256", PINNED, ALICE, "pin_missing"),
    ("step-pinned", "step-ecdsa256", PINNED, ALICE, "allowed"),
    ("step-pinned", "step-ecdsa256", OPEN, ELSEWHERE, "pin_mismatch"),
    ("step-github", "step-ecdsa256", OPEN, ALICE, "allowed"),
    ("teleport-by-ed25519", "teleport-ed25519", TELEPORT, ALICE, "allowed"),
    ("teleport-by-ed25519", "teleport-ed25519", TELEPORT, ELSEWHERE, "pin_mismatch"),
    ("teleport-by-rsa", "teleport-rsa", TELEPORT, ALICE, "allowed"),
    ("teleport-by-rsa", "teleport-rsa", COTTER, ALICE, "no_roles"),
    ("teleport-unpinned", "teleport-ed25519", TELEPORT, ALICE, "pin_missing"),
    ("teleport-no-roles", "teleport-ed25519", TELEPORT, ALICE, "no_roles"),
    ("teleport-bad-roles", "teleport-ed25519", TELEPORT, ALICE, "malformed_certificate"),
];

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/interop"))
}

fn read(name: &str) -> String {
    fs::read_to_string(directory().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn policy(ca: &str, roles: Roles) -> Policy {
    let (roles_from, default_roles) = match roles {
        Roles::Default(role) => (RolesFrom::Default, vec![role.to_owned()]),
        Roles::From(from) => (from, Vec::new()),
    };
    let cluster = Cluster {
        name: "example.com".into(),
        user_ca: CaKey::parse_all(&read(&format!("{ca}.pub"))).unwrap(),
        roles_from,
        default_roles,
        role_map: None,
        on_expiry: OnExpiry::from(roles_from),
        principals_file: None,
    };
    let role = |name: &str, options: &str| {
        format!(
            "---\nkind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec: {{options: {{{options}}}}}\n"
        )
    };
    let roles = role("open", "") + &role("pinned-ip", "pin_source_ip: true");
    Policy::new(vec![cluster], Role::parse_all(&roles).unwrap()).unwrap()
}

fn judge((certificate, ca, roles, from, _): &Case) -> Judgement {
    let observed = from.parse::<pinning::Address>().unwrap();
    policy(ca, *roles).judge(&Login {
        certificate: &read(&format!("{certificate}-cert.pub")),
        login: "alice",
        observed: Some(Observed::direct(observed)),
        now: NOW,
        locks: &[],
        principals_file: &|_, _| unreachable!("no cluster has one"),
    })
}

#[test]
fn certificates_of_other_programs_are_judged_by_what_they_say() {
    for case in KEYGEN.iter().chain(&OTHERS) {
        let judgement = judge(case);
        assert_eq!(judgement.verdict.reason().as_str(), case.4, "{case:?}: {}", judgement.detail);
    }
}

#[test]
fn whom_they_speak_for_is_read_as_their_programs_wrote_it() {
    let roles = |case: &Case| judge(case).roles;
    assert_eq!(roles(&("teleport-by-rsa", "teleport-rsa", TELEPORT, ALICE, "")), ["pinned-ip", "open"]);
    assert_eq!(roles(&("keygen-own-extension", "keygen-ed25519", COTTER, ALICE, "")), ["open"]);
    let identity = |certificate, ca| judge(&(certificate, ca, OPEN, ALICE, "")).identity.unwrap();
    assert_eq!(identity("keygen-no", "keygen-ed25519").principals, ["alice", "deploy"]);
    assert_eq!(identity("keygen-forever", "keygen-ed25519").valid_before, u64::MAX);
    assert!(identity("openbao-by-ed25519", "openbao-ed25519").key_id.starts_with("vault-token-"));
    assert_eq!(identity("step-default", "step-ecdsa256").key_id, "alice");
    let teleport = identity("teleport-by-ed25519", "teleport-ed25519");
    assert_eq!(teleport.principals, ["alice", "-teleport-internal-join"]);
    assert_eq!(teleport.pins.unwrap().to_string(), "198.51.111.1/32");
}

#[test]
fn no_certificate_is_left_out() {
    let files = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name());
    let there: BTreeSet<String> = files
        .filter_map(|name| name.to_str().and_then(|name| name.strip_suffix("-cert.pub")).map(str::to_owned))
        .collect();
    let judged: BTreeSet<String> = KEYGEN.iter().chain(&OTHERS).map(|case| case.0.to_owned()).collect();
    assert_eq!(there, judged);
}
