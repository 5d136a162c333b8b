//! A policy that an authority has signed: its locks are read whatever its rules are, none is lost when it is written again,
//! and rules that make a policy name each cluster and role once, the authority's own cluster first.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cotter_api::{PolicyDocument, SignedPolicyError};
use fuzz::Sealed;
use libfuzzer_sys::fuzz_target;

static SEALED: LazyLock<Sealed> = LazyLock::new(|| Sealed::seeded(1));
static OTHER: LazyLock<Sealed> = LazyLock::new(|| Sealed::seeded(2));

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let signed = SEALED.policy(text);
    assert_eq!(signed.verify(&[OTHER.policy_key()]), Err(SignedPolicyError::Signature));
    let Ok(document) = signed.verify(&[SEALED.policy_key()]) else { return };
    require_again(&document);
    let Ok(rules) = document.rules() else { return };
    if let Ok(policy) = rules.policy(&document.cluster) {
        let names: Vec<&str> = policy.clusters().iter().map(|cluster| cluster.name.as_str()).collect();
        assert_eq!(names.first(), Some(&document.cluster.as_str()));
        assert_eq!(BTreeSet::from_iter(&names).len(), names.len(), "{names:?}");
        assert!(policy.clusters().iter().skip(1).all(|cluster| cluster.role_map.is_some()));
        let roles: Vec<&str> = policy.roles().map(|role| role.name.as_str()).collect();
        assert_eq!(BTreeSet::from_iter(&roles).len(), roles.len(), "{roles:?}");
    }
});

/// What is understood of a document is the same in one that is made of it.
fn require_again(document: &PolicyDocument) {
    let text = serde_json::to_string(document).expect("what was read can be written");
    let Ok(again) = SEALED.policy(&text).verify(&[SEALED.policy_key()]) else {
        panic!("not read again: {text}");
    };
    assert_eq!((again.version, &again.cluster), (document.version, &document.cluster));
    // One with a member that stands there twice is not understood, and is once it was written again.
    assert!(document.locks().all(|lock| again.locks().any(|same| same == lock)), "{text}");
    let understood = |document: &PolicyDocument| document.rules().map(|rules| rules.not_understood());
    assert_eq!(understood(&again), understood(document));
}
