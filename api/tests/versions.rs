//! Messages of the next version, as files, and of one before: what this version makes of them.
#![allow(clippy::unwrap_used, reason = "an error where none may be is how a test fails")]

use cotter_api::{
    Issued, LoginRequest, NAMESPACE, Observation, PolicyDocument, PolicyKey, Refusal, RulesError,
    SignedPolicy, Statement, StatementRequest, UserCa,
};
use pinning::{OnExpiry, RolesFrom};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

const POLICY: &str = include_str!("next/policy.json");

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A document with a signature that counts, as it comes from an authority.
fn received(text: &str) -> PolicyDocument {
    let key = PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[7; 32])), "").unwrap();
    let signature = key.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes()).unwrap();
    let signature = signature.to_pem(LineEnding::LF).unwrap();
    let known: PolicyKey = key.public_key().to_openssh().unwrap().parse().unwrap();
    SignedPolicy { document: text.into(), signature }.verify(&[known]).unwrap()
}

/// The file with another value at a place such as `/trusted_clusters/0/on_expiry`.
fn policy_with(place: &str, value: Value) -> String {
    let mut document: Value = read(POLICY);
    *document.pointer_mut(place).unwrap() = value;
    document.to_string()
}

#[test]
fn of_the_next_versions_policy_all_that_is_understood_counts_and_the_rest_is_named() {
    let document = received(POLICY);
    assert_eq!(document.locks().map(|lock| lock.id.as_str()).collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(document.unknown_locks(), 2);
    let rules = document.rules().unwrap();
    let policy = rules.policy(&document.cluster).unwrap();
    let clusters: Vec<_> =
        policy.clusters().iter().map(|it| (it.name.as_str(), it.roles_from, it.on_expiry)).collect();
    assert_eq!(
        clusters,
        [
            ("example.com", RolesFrom::Cotter, OnExpiry::Cut),
            ("root.example.com", RolesFrom::Cotter, OnExpiry::Cut)
        ]
    );
    assert_eq!(policy.roles().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["pinned-ip"]);
    assert_eq!(
        rules.not_understood(),
        [
            "cluster word.example.com (not understood)",
            "cluster expiry.example.com (not understood)",
            "cluster unless.example.com (not understood)",
            "cluster hours.example.com (not understood)",
            "role file at-night.yaml (not understood)",
        ]
    );
}

#[test]
fn rules_that_only_a_later_version_can_read_are_refused_and_the_locks_beside_them_count() {
    for (place, value) in [
        ("/format", 2.into()),
        ("/format", "2".into()),
        ("/user_ca", serde_json::json!([{ "key": "ssh-ed25519 AAAA", "not_after": 1 }])),
        ("/roles", serde_json::json!({})),
        ("/trusted_clusters", "all".into()),
    ] {
        let document = received(&policy_with(place, value));
        let rules = document.rules();
        assert!(
            matches!(rules, Err(RulesError::Format(2) | RulesError::Unreadable(_))),
            "{place}: {rules:?}"
        );
        assert_eq!((document.locks().count(), document.version), (2, 7), "{place}");
    }
}

#[test]
fn an_authority_hands_on_what_another_one_of_the_next_version_has_published_as_it_is() {
    let (document, mut published): (_, Value) = (received(POLICY), read(POLICY));
    for own in ["cluster", "version", "issued_at", "locks"] {
        published.as_object_mut().unwrap().remove(own);
    }
    assert_eq!(Value::Object(document.rules.clone()), published);
    assert_eq!(received(&serde_json::to_string(&document).unwrap()).rules, document.rules);
}

#[test]
fn the_next_versions_messages_are_read() {
    let SignedPolicy { document, .. } = read(include_str!("next/signed-policy.json"));
    assert_eq!(document, "{}");
    let LoginRequest { user, code, .. } = read(include_str!("next/login-request.json"));
    assert_eq!((user.as_str(), code), ("alice", None));
    let issued: Issued = read(include_str!("next/login-answer.json"));
    assert_eq!(issued.knock_key.as_deref(), Some("bydmxuO7yXkFLHHuuO15iZkeN6wHmp6UXaQo1pFyFhw="));
    let (observed, other) = (issued.observed.unwrap(), issued.other_observed.unwrap());
    assert_eq!(
        (observed.address.to_string().as_str(), observed.how.as_str()),
        ("198.51.111.1", "wireguard via 10.0.0.1")
    );
    assert_eq!(other.how, "proxy-v3 via 10.0.0.1 (tls)");
    let observation: Observation = read(include_str!("next/observed.json"));
    assert_eq!(observation.address, Some(observed.address));
    assert_eq!(observation.how.as_deref(), Some("wireguard via 10.0.0.1"));
    let StatementRequest { public_key } = read(include_str!("next/observations-request.json"));
    assert!(public_key.starts_with("ssh-ed25519 "));
    let statement: Statement = read(include_str!("next/observations-answer.json"));
    assert_eq!(statement.observation.address, Some(other.address));
    assert_eq!(statement.token.as_deref(), Some("0a.{}"));
    let UserCa { cluster, user_ca } = read(include_str!("next/ca.json"));
    assert_eq!((cluster.as_str(), user_ca.len()), ("example.com", 1));
    let Refusal { error, message } = read(include_str!("next/refusal.json"));
    assert_eq!((error.as_str(), message.as_str()), ("passkey_needed", "touch your key"));
}

/// Which members of a message may be missing: those without which no reader says or allows anything false.
fn missing<T: DeserializeOwned + Serialize>(text: &str) -> Vec<String> {
    let whole: Value = serde_json::to_value(read::<T>(text)).unwrap();
    let members = whole.as_object().unwrap().keys();
    let is_read_without = |member: &&String| {
        let mut less = whole.clone();
        less.as_object_mut().unwrap().remove(*member);
        serde_json::from_value::<T>(less).is_ok()
    };
    members.filter(is_read_without).cloned().collect()
}

#[test]
fn an_older_writer_is_understood_where_nothing_false_comes_of_it() {
    assert_eq!(missing::<LoginRequest>(include_str!("next/login-request.json")), [""; 0]);
    let issued = missing::<Issued>(include_str!("next/login-answer.json"));
    assert_eq!(issued, ["knock_key", "logins", "observed", "other_observed", "roles"]);
    assert_eq!(missing::<Observation>(include_str!("next/observed.json")), ["address", "how"]);
    assert_eq!(missing::<StatementRequest>(include_str!("next/observations-request.json")), [""; 0]);
    assert_eq!(
        missing::<Statement>(include_str!("next/observations-answer.json")),
        ["address", "how", "token"]
    );
    assert_eq!(missing::<UserCa>(include_str!("next/ca.json")), [""; 0]);
    assert_eq!(missing::<Refusal>(include_str!("next/refusal.json")), [""; 0]);
    assert_eq!(missing::<SignedPolicy>(include_str!("next/signed-policy.json")), [""; 0]);
    let mut oldest: Value = read(POLICY);
    for member in ["format", "issued_at", "locks", "trusted_clusters"] {
        oldest.as_object_mut().unwrap().remove(member);
        let document = received(&oldest.to_string());
        assert!(document.rules().unwrap().policy("example.com").is_ok(), "{member}");
    }
    for member in ["user_ca", "roles"] {
        let mut less = oldest.clone();
        less.as_object_mut().unwrap().remove(member);
        assert!(received(&less.to_string()).rules().is_err(), "{member}");
    }
}
