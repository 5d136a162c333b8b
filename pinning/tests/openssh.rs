//! The rules against certificates made by OpenSSH's own `ssh-keygen`, which must be installed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use base64ct::{Base64, Encoding};
use pinning::{
    CaKey, Cluster, Judgement, Login, LoginReason, Observed, OnExpiry, Pins, Policy, Role, RolesFrom,
};
use tempfile::TempDir;

const KEY_KINDS: [&[&str]; 5] = [
    &["-t", "ed25519"],
    &["-t", "ecdsa", "-b", "256"],
    &["-t", "ecdsa", "-b", "384"],
    &["-t", "ecdsa", "-b", "521"],
    &["-t", "rsa", "-b", "2048"],
];

/// A directory with an authority's key and a user's key.
struct Keys(TempDir);

impl Keys {
    fn new(ca: &[&str], user: &[&str]) -> Self {
        let keys = Self(TempDir::new().unwrap());
        for (name, kind) in [("ca", ca), ("user", user)] {
            assert!(keys.keygen(&[kind, &["-q", "-N", "", "-C", name, "-f", name]].concat()));
        }
        keys
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn keygen(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new("ssh-keygen");
        let output = command.args(arguments).current_dir(self.dir()).output();
        output.expect("ssh-keygen (Debian: openssh-client) is needed by this test").status.success()
    }

    /// Signs the user's key; `None` if ssh-keygen refuses.
    fn certificate(&self, arguments: &[&str]) -> Option<String> {
        let made = self
            .keygen(&[&["-q", "-s", "ca", "-I", "alice", "-n", "alice"], arguments, &["user.pub"]].concat());
        made.then(|| std::fs::read_to_string(self.dir().join("user-cert.pub")).unwrap())
    }

    fn policy(&self, roles_from: RolesFrom) -> Policy {
        let role =
            "kind: role\nversion: v7\nmetadata: {name: pinned}\nspec: {options: {pin_source_ip: true}}\n";
        let cluster = Cluster {
            name: "example.com".into(),
            user_ca: CaKey::parse_all(&std::fs::read_to_string(self.dir().join("ca.pub")).unwrap()).unwrap(),
            roles_from,
            default_roles: vec!["pinned".into()],
            role_map: None,
            on_expiry: OnExpiry::Keep,
            principals_file: None,
        };
        Policy::new(vec![cluster], Role::parse_all(role).unwrap()).unwrap()
    }

    fn judge(&self, roles_from: RolesFrom, arguments: &[&str]) -> Judgement {
        let certificate = self.certificate(arguments).expect("ssh-keygen signs");
        judge(&self.policy(roles_from), &certificate)
    }
}

/// Judges a login as alice from 198.51.111.1, in January 2027.
fn judge(policy: &Policy, certificate: &str) -> Judgement {
    policy.judge(&Login {
        certificate,
        login: "alice",
        observed: Some(Observed::direct("198.51.111.1".parse::<pinning::Address>().unwrap())),
        now: 1_800_000_000,
        locks: &[],
        principals_file: &|_, _| Err("there is none".into()),
    })
}

fn ed25519() -> Keys {
    Keys::new(KEY_KINDS[0], KEY_KINDS[0])
}

const PINNED: [&str; 2] = ["-O", "source-address=198.51.111.1/32"];

#[test]
fn every_kind_of_authority_and_user_key_is_understood() {
    for kind in KEY_KINDS {
        for (ca, user) in [(kind, KEY_KINDS[0]), (KEY_KINDS[0], kind)] {
            let judgement = Keys::new(ca, user).judge(RolesFrom::Default, &PINNED);
            assert!(judgement.verdict.is_allow(), "{ca:?} signs {user:?}: {}", judgement.detail);
        }
    }
}

#[test]
fn no_flipped_bit_in_a_real_certificate_goes_unnoticed() {
    for kind in KEY_KINDS {
        let keys = Keys::new(kind, kind);
        let text = keys.certificate(&PINNED).unwrap();
        let blob = Base64::decode_vec(text.split(' ').nth(1).unwrap()).unwrap();
        let policy = keys.policy(RolesFrom::Default);
        assert!(judge(&policy, &text).verdict.is_allow(), "{kind:?}");
        for at in 0..blob.len() {
            let mut damaged = blob.clone();
            damaged[at] ^= 1 << (at % 8);
            let judgement = judge(&policy, &Base64::encode_string(&damaged));
            assert!(!judgement.verdict.is_allow(), "{kind:?}, byte {at}");
        }
    }
}

#[test]
fn signatures_of_rsa_authorities_are_judged_by_their_hash() {
    let keys = Keys::new(KEY_KINDS[4], KEY_KINDS[0]);
    for (algorithm, expected) in [
        ("rsa-sha2-256", LoginReason::Allowed),
        ("rsa-sha2-512", LoginReason::Allowed),
        ("ssh-rsa", LoginReason::SignatureInvalid),
    ] {
        let judgement = keys.judge(RolesFrom::Default, &[&["-t", algorithm], &PINNED[..]].concat());
        assert_eq!(judgement.verdict.reason(), expected, "{algorithm}: {}", judgement.detail);
    }
}

#[test]
fn fingerprints_and_validity_are_what_ssh_keygen_shows() {
    let keys = ed25519();
    let judgement =
        keys.judge(RolesFrom::Default, &[&["-z", "42", "-V", "always:forever"], &PINNED[..]].concat());
    assert!(judgement.verdict.is_allow());
    let identity = judgement.identity.unwrap();
    assert_eq!((identity.valid_after, identity.valid_before, identity.serial), (0, u64::MAX, 42));
    let shown = Command::new("ssh-keygen")
        .args(["-L", "-f", "user-cert.pub"])
        .current_dir(keys.dir())
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(&format!("Signing CA: ED25519 {}", identity.ca)), "{shown}");
    assert!(shown.contains(&format!("Public key: ED25519-CERT {}", identity.key)), "{shown}");
}

#[test]
fn options_are_read_as_ssh_keygen_writes_them() {
    let keys = ed25519();
    let judge = |roles_from, arguments: &[&str]| keys.judge(roles_from, arguments).verdict.reason();
    let signed = |options: &[&str]| judge(RolesFrom::Default, &[&PINNED[..], options].concat());
    assert_eq!(signed(&["-O", "force-command=true", "-O", "verify-required"]), LoginReason::Allowed);
    assert_eq!(signed(&["-O", "clear", "-O", "no-touch-required"]), LoginReason::Allowed);
    assert_eq!(signed(&["-O", "extension:empty=", "-O", "extension:a@b=x"]), LoginReason::Allowed);
    assert_eq!(signed(&["-O", "critical:new@example.com=x"]), LoginReason::CriticalOptionUnknown);
    assert_eq!(signed(&["-V", "20200101:20210101"]), LoginReason::CertificateExpired);
    assert_eq!(signed(&["-V", "20400101:20410101"]), LoginReason::CertificateNotYetValid);
    assert_eq!(judge(RolesFrom::Default, &["-h"]), LoginReason::NotAUserCertificate);
    assert_eq!(judge(RolesFrom::Default, &["-O", "source-address=203.0.113.0/32"]), LoginReason::PinMismatch);
    assert_eq!(judge(RolesFrom::Default, &[]), LoginReason::PinMissing);
    let roles = |text| judge(RolesFrom::Cotter, &[&PINNED[..], &["-O", text]].concat());
    assert_eq!(roles(r#"extension:roles@cotter=["pinned"]"#), LoginReason::Allowed);
    assert_eq!(roles(r#"extension:roles@cotter=["other"]"#), LoginReason::RoleUnknown);
    let roles = |text| judge(RolesFrom::Teleport, &[&PINNED[..], &["-O", text]].concat());
    assert_eq!(
        roles(r#"extension:teleport-roles={"version":"v1","roles":["pinned"]}"#),
        LoginReason::Allowed
    );
}

#[test]
fn another_authoritys_certificate_is_not_trusted() {
    let (ours, theirs) = (ed25519(), ed25519());
    let certificate = theirs.certificate(&PINNED).unwrap();
    let judgement = judge(&ours.policy(RolesFrom::Default), &certificate);
    assert_eq!(judgement.verdict.reason(), LoginReason::CaUntrusted);
}

#[test]
fn lists_of_addresses_are_valid_where_openssh_takes_them() {
    let keys = ed25519();
    for list in [
        "198.51.111.1",
        "198.51.111.0/24",
        "0.0.0.0/0",
        "::/0",
        "2001:db8::1",
        "2001:DB8::/32",
        "::ffff:1.2.3.4",
        "::ffff:0:0/96",
        "10.0.0.0/08",
        "10.0.0.1,2001:db8::/64",
        "",
        ",",
        "10.0.0.1,",
        ",10.0.0.1",
        "10.0.0.1/8",
        "10.0.0.1, 10.0.0.2",
        "!10.0.0.1",
        "host",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
        "*",
        "fe80::1%lo",
        "[::1]",
        "1:2",
        "10.0.0.256",
        "::1::",
    ] {
        let theirs = keys.certificate(&["-O", &format!("source-address={list}")]).is_some();
        assert_eq!(list.parse::<Pins>().is_ok(), theirs, "{list:?}");
    }
}
