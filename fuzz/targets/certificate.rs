//! Certificates: nothing is allowed that no authority has signed, and a pin that is asked for holds.
//!
//! The first byte says whether the rest is a whole certificate, or what the harness signs.
#![no_main]

use std::sync::LazyLock;

use base64ct::{Base64, Encoding};
use fuzz::Sealed;
use libfuzzer_sys::fuzz_target;
use pinning::{
    Address, CaKey, Certificate, Cluster, Judgement, Login, LoginReason, Observed, OnExpiry, Policy, Role,
    RolesFrom,
};

/// 2030: the certificates of the corpus are valid.
const NOW: u64 = 1_893_456_000;
const ROLES: &str = "
kind: role
version: v7
metadata: {name: open}
---
kind: role
version: v7
metadata: {name: pinned-ip}
spec: {options: {pin_source_ip: true, pin_width: {ipv6: 64}}}
";

static SEALED: LazyLock<Sealed> = LazyLock::new(|| Sealed::seeded(9));
/// A role that pins for whatever the certificate says, roles of the certificate's own, and those of ssh-keygen.
static POLICIES: LazyLock<[Policy; 3]> = LazyLock::new(|| {
    let keygen = include_str!("../../tests/interop/keygen-ed25519.pub");
    [
        policy(&SEALED.public_line(), RolesFrom::Default),
        policy(&SEALED.public_line(), RolesFrom::Cotter),
        policy(keygen, RolesFrom::Teleport),
    ]
});

fn policy(ca: &str, roles_from: RolesFrom) -> Policy {
    let cluster = Cluster {
        name: "example.com".into(),
        user_ca: CaKey::parse_all(ca).expect("keys"),
        roles_from,
        default_roles: vec!["pinned-ip".into()],
        role_map: None,
        on_expiry: OnExpiry::from(roles_from),
        principals_file: None,
    };
    Policy::new(vec![cluster], Role::parse_all(ROLES).expect("roles")).expect("a policy")
}

fn judge(policy: &Policy, certificate: &str, observed: Option<&str>) -> Judgement {
    policy.judge(&Login {
        certificate,
        login: "alice",
        observed: observed.map(|address| Observed::direct(address.parse::<Address>().expect("an address"))),
        now: NOW,
        locks: &[],
        principals_file: &|_, _| Err("there is none".into()),
    })
}

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((0, blob)) => as_it_is(blob),
        Some((_, fields)) => sealed(fields),
        None => {}
    }
});

/// Bytes of a stranger's: however they are called, they are read to the same end, and let nobody in.
fn as_it_is(blob: &[u8]) {
    let text = Base64::encode_string(blob);
    let read = Certificate::parse(&text);
    let kind = blob.get(4..36).and_then(|kind| std::str::from_utf8(kind).ok());
    if let (Ok(certificate), Some("ssh-ed25519-cert-v01@openssh.com")) = (&read, kind) {
        let line = format!("ssh-ed25519-cert-v01@openssh.com {text} comment\n");
        assert_eq!(Certificate::parse(&line).as_ref(), Ok(certificate));
        assert!(Certificate::parse(&format!("ssh-rsa-cert-v01@openssh.com {text}")).is_err());
    }
    for policy in &*POLICIES {
        for observed in [Some("198.51.111.1"), None] {
            let judgement = judge(policy, &text, observed);
            assert!(!judgement.verdict.is_allow(), "{judgement:?}");
            assert_eq!(judgement, judge(policy, &text, observed));
        }
    }
}

/// Fields of an authority's: what it has signed is what it says, and rules are rules.
fn sealed(fields: &[u8]) {
    let text = SEALED.certificate(fields);
    let Ok(certificate) = Certificate::parse(&text) else { return };
    if certificate.ca() == SEALED.ca() {
        assert_eq!(certificate.verify_signature(), Ok(()));
    }
    for observed in [Some("198.51.111.1"), Some("2001:db8:111::1"), None] {
        require_pinned(&judge(&POLICIES[0], &text, observed));
        let judgement = judge(&POLICIES[1], &text, observed);
        if judgement.roles.iter().any(|role| role == "pinned-ip") {
            require_pinned(&judgement);
        }
        require_within(&judgement);
    }
}

/// Under a role that pins.
fn require_pinned(judgement: &Judgement) {
    let Some(terms) = &judgement.terms else {
        assert_ne!(judgement.verdict.reason(), LoginReason::Allowed);
        return;
    };
    let pins = terms.pins.as_ref().expect("an allowed login has its pin");
    let observed = judgement.observed.as_ref().expect("an allowed login has its address");
    assert!(pins.contains(observed.address), "{judgement:?}");
    for network in pins.networks() {
        let least = if network.net().addr().is_ipv4() { 32 } else { 64 };
        assert!(network.prefix_len() >= least, "{judgement:?}");
    }
    require_within(judgement);
}

/// Whoever is let in is one whom the certificate names, in its time, and where it is pinned to.
fn require_within(judgement: &Judgement) {
    if !judgement.verdict.is_allow() {
        return;
    }
    let identity = judgement.identity.as_ref().expect("somebody");
    assert!(identity.principals.iter().any(|principal| principal == "alice"));
    assert!(identity.valid_after <= NOW && NOW < identity.valid_before);
    if let Some(pins) = &identity.pins {
        assert!(judgement.observed.as_ref().is_some_and(|observed| pins.contains(observed.address)));
    }
}
