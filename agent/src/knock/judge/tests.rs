//! Each refusal, in its turn.

use super::*;
use cotter_knock::{Draft, Fingerprint, FleetSecret, KnockKey, NAMESPACE};
use pinning::{CaKey, Cluster, LockTarget, LoginReason, OnExpiry, Role, RolesFrom};
use ssh_key::certificate::Builder;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, PrivateKey};
use std::sync::Arc;

const NODE: Fingerprint = Fingerprint([9; 32]);
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
/// Later than any test's time, in Unix seconds.
const FOREVER: u64 = 4_000_000_000;
const HOME: &str = "198.51.111.1";
const AWAY: &str = "198.51.222.2";
/// How long the agents of these tests have been running.
const RUNNING: Duration = Duration::from_secs(3600);

/// A person with a key and a certificate of the authority with seed 0, pinned to `HOME`.
struct Person {
    key: PrivateKey,
    certificate: Vec<u8>,
}

impl Person {
    fn new(seed: u8) -> Self {
        Self::certified(seed, 0, FOREVER)
    }

    fn certified(seed: u8, authority: u8, valid_before: u64) -> Self {
        let (key, authority) = (private(seed), private(authority));
        let mut builder =
            Builder::new([1; 32], key.public_key().key_data().clone(), 1000, valid_before).unwrap();
        builder.key_id("alice").unwrap().valid_principal("alice").unwrap();
        builder.critical_option("source-address", HOME).unwrap();
        let certificate = builder.sign(&authority).unwrap().to_bytes().unwrap();
        Self { key, certificate }
    }

    /// Her knock of this time with this nonce.
    fn knock(&self, time: UnixMillis, nonce: u8, key: Option<&KnockKey>) -> Vec<u8> {
        let draft = Draft::new(NODE, time, [nonce; 16], &self.certificate);
        let proof = self.key.sign(NAMESPACE, HashAlg::Sha512, &draft.message()).unwrap();
        let signature: Vec<u8> = proof.signature().clone().try_into().unwrap();
        draft.signed(&signature, key).unwrap().bytes().to_vec()
    }
}

fn private(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&[seed; 32])), "").unwrap()
}

/// A node, and its agent's judge.
struct Node {
    policy: Policy,
    knocks: Knocks,
    locks: Vec<Lock>,
    judge: Judge,
    at: Instant,
}

impl Node {
    fn new() -> Self {
        Self::after(None)
    }

    /// One whose agent has come after another, that has taken a knock of this time as its latest.
    fn after(latest: Option<UnixMillis>) -> Self {
        let started = Instant::now();
        let knocks =
            Knocks { port: 4022, tcp: false, secret: None, host_keys: vec![Fingerprint([8; 32]), NODE] };
        Self {
            policy: policy(),
            knocks,
            locks: Vec::new(),
            judge: Judge::new(started, latest),
            at: started + RUNNING,
        }
    }

    fn with_secret() -> (Self, FleetSecret) {
        let mut node = Self::new();
        node.knocks.secret = Some(Arc::new(FleetSecret::new([7; 32])));
        (node, FleetSecret::new([7; 32]))
    }

    fn hear_at(&mut self, bytes: &[u8], from: &str, wall: UnixMillis) -> Result<Box<Judgement>, Refused> {
        let arrival = Arrival { bytes, from: from.parse().unwrap(), wall, at: self.at };
        let rules = Rules { knocks: &self.knocks, policy: &self.policy, locks: &self.locks };
        self.judge.judge(&arrival, &rules)
    }

    /// Why it is refused, if it is.
    fn refuses(&mut self, bytes: &[u8]) -> Option<Refusal> {
        self.hear_at(bytes, HOME, NOW).err().map(|refused| refused.why)
    }
}

fn policy() -> Policy {
    let role = "kind: role\nversion: v7\nmetadata: {name: plain}\nspec: {}\n";
    let cluster = Cluster {
        name: "example.com".to_owned(),
        user_ca: CaKey::parse_all(&private(0).public_key().to_openssh().unwrap()).unwrap(),
        roles_from: RolesFrom::Default,
        default_roles: vec!["plain".to_owned()],
        role_map: None,
        on_expiry: OnExpiry::Keep,
        principals_file: None,
    };
    Policy::new(vec![cluster], Role::parse_all(role).unwrap()).unwrap()
}

#[test]
fn a_good_knock_is_taken_and_it_is_known_whose_it_is() {
    let judgement = Node::new().hear_at(&Person::new(1).knock(NOW, 1, None), HOME, NOW).unwrap();
    let identity = judgement.identity.unwrap();
    assert_eq!((identity.cluster.as_deref(), &*identity.key_id), (Some("example.com"), "alice"));
}

#[test]
fn what_is_no_knock_is_malformed() {
    let knock = Person::new(1).knock(NOW, 1, None);
    for bytes in [&b""[..], b"GET / HTTP/1.1", &knock[..knock.len() - 1], &[&knock[..], b"\0"].concat()] {
        assert_eq!(Node::new().refuses(bytes), Some(Refusal::Malformed));
    }
}

#[test]
fn a_knock_at_another_node_is_not_for_this_one() {
    let mut node = Node::new();
    node.knocks.host_keys = vec![Fingerprint([8; 32])];
    assert_eq!(node.refuses(&Person::new(1).knock(NOW, 1, None)), Some(Refusal::OtherNode));
}

#[test]
fn a_knock_out_of_time_is_early_or_late() {
    let (mut node, alice) = (Node::new(), Person::new(1));
    let mut at = |millis: u64| node.refuses(&alice.knock(UnixMillis(millis), 1, None));
    assert_eq!(at(NOW.0 + 30_001), Some(Refusal::Early));
    assert_eq!(at(NOW.0 - 30_000), Some(Refusal::Late));
    assert_eq!(at(NOW.0 - 29_999), None);
}

#[test]
fn a_knock_from_before_the_agent_s_start_is_late() {
    let (mut node, alice) = (Node::new(), Person::new(1));
    node.at = node.judge.started + Duration::from_secs(2);
    assert_eq!(node.refuses(&alice.knock(UnixMillis(NOW.0 - 2000), 1, None)), Some(Refusal::Late));
    assert_eq!(node.refuses(&alice.knock(UnixMillis(NOW.0 - 1999), 1, None)), None);
}

#[test]
fn a_knock_that_an_earlier_agent_may_have_taken_is_late() {
    let alice = Person::new(1);
    let ahead = UnixMillis(NOW.0 + 20_000);
    let mut before = Node::new();
    assert_eq!(before.refuses(&alice.knock(ahead, 1, None)), None);
    let mut node = Node::after(Some(before.judge.latest()));
    assert_eq!(node.refuses(&alice.knock(ahead, 1, None)), Some(Refusal::Late));
    assert_eq!(node.refuses(&alice.knock(UnixMillis(ahead.0 + 1), 1, None)), None);
}

#[test]
fn where_there_is_a_secret_a_knock_needs_the_certificate_s_mac() {
    let (mut node, fleet) = Node::with_secret();
    let (alice, bob) = (Person::new(1), Person::new(2));
    assert_eq!(node.refuses(&alice.knock(NOW, 1, None)), Some(Refusal::NoMac));
    for key in [fleet.key_for(&bob.certificate), FleetSecret::new([6; 32]).key_for(&alice.certificate)] {
        assert_eq!(node.refuses(&alice.knock(NOW, 1, Some(&key))), Some(Refusal::WrongMac));
    }
    assert_eq!(node.refuses(&alice.knock(NOW, 1, Some(&fleet.key_for(&alice.certificate)))), None);
    // Where there is none, nobody looks.
    let foreign = FleetSecret::new([6; 32]).key_for(&alice.certificate);
    assert_eq!(Node::new().refuses(&alice.knock(NOW, 1, Some(&foreign))), None);
}

#[test]
fn a_knock_is_taken_once() {
    let (mut node, alice) = (Node::new(), Person::new(1));
    let knock = alice.knock(NOW, 1, None);
    assert_eq!(node.refuses(&knock), None);
    assert_eq!(node.refuses(&knock), Some(Refusal::Replayed));
    assert_eq!(node.refuses(&alice.knock(NOW, 2, None)), None);
}

#[test]
fn signatures_are_checked_as_long_as_there_is_time_for_it() {
    let (mut node, alice) = (Node::new(), Person::new(1));
    node.judge.strangers.spend(Duration::from_secs(1), node.at);
    assert_eq!(node.refuses(&alice.knock(NOW, 1, None)), Some(Refusal::Busy));
    // The fleet's own have a budget to themselves.
    let fleet = FleetSecret::new([7; 32]);
    node.knocks.secret = Some(Arc::new(FleetSecret::new([7; 32])));
    let knock = alice.knock(NOW, 2, Some(&fleet.key_for(&alice.certificate)));
    assert_eq!(node.refuses(&knock), None);
    node.knocks.secret = None;
    node.at += Duration::from_secs(1) * STRANGERS;
    assert_eq!(node.refuses(&alice.knock(NOW, 1, None)), None);
}

#[test]
fn each_check_of_signatures_is_paid_for() {
    let (mut node, alice) = (Node::new(), Person::new(1));
    node.judge.strangers.spend(AT_ONCE - Duration::from_nanos(1), node.at);
    assert_eq!(node.refuses(&alice.knock(NOW, 1, None)), None);
    assert_eq!(node.refuses(&alice.knock(NOW, 2, None)), Some(Refusal::Busy));
}

#[test]
fn a_certificate_that_is_good_for_no_login_from_there_opens_nothing() {
    let alice = Person::new(1);
    let denied = |node: &mut Node, person: &Person, from: &str| {
        let refused = node.hear_at(&person.knock(NOW, 1, None), from, NOW).unwrap_err();
        (refused.why, refused.of.is_some())
    };
    let because = |reason, known| (Refusal::Denied(reason), known);
    let mut node = Node::new();
    assert_eq!(denied(&mut node, &alice, AWAY), because(LoginReason::PinMismatch, true));
    let expired = Person::certified(1, 0, 2000);
    assert_eq!(denied(&mut node, &expired, HOME), because(LoginReason::CertificateExpired, true));
    let stranger = Person::certified(1, 5, FOREVER);
    assert_eq!(denied(&mut node, &stranger, HOME), because(LoginReason::CaUntrusted, false));
    let target = LockTarget::user("example.com/alice").unwrap();
    node.locks = vec![Lock { id: "1".into(), target, until: None, reason: String::new(), created: 0 }];
    assert_eq!(denied(&mut node, &alice, HOME), because(LoginReason::Locked, true));
}

#[test]
fn without_the_certificate_s_key_nothing_is_proven() {
    let alice = Person::new(1);
    let mut knock = alice.knock(NOW, 1, None);
    // A bit of the signature's; behind it there are the 32 bytes of the MAC.
    let at = knock.len() - 33;
    knock[at] ^= 1;
    let refused = Node::new().hear_at(&knock, HOME, NOW).unwrap_err();
    assert_eq!((refused.why, refused.of.is_some()), (Refusal::Unproven, true));
}

#[test]
fn nobody_knocks_too_often() {
    let (mut node, alice) = (Node::new(), Person::new(1));
    let mut refused = None;
    for knock in 0..=cotter_knock::MOST_OF_ONE {
        node.at += Duration::from_secs(1);
        refused = node.refuses(&alice.knock(UnixMillis(NOW.0 + knock as u64), 1, None));
    }
    assert_eq!(refused, Some(Refusal::Often));
}
