//! What was decided, one JSON object a line on standard output, for the journal.

use cotter_api::Issued;
use pinning::Observed;
use serde_json::{Value, json};

use crate::clock;
use crate::login::Refusal;

/// Longest name that is written; a stranger's may be anything.
const LONGEST: usize = 64;

/// A certificate was issued.
pub(crate) fn issued(user: &str, issued: &Issued) {
    say(json!({
        "event": "certificate_issued", "user": user, "serial": issued.serial, "logins": issued.logins,
        "roles": issued.roles, "pinned": issued.pinned, "ends_at": issued.ends_at,
        "observed": place(issued.observed.as_ref()), "other_observed": place(issued.other_observed.as_ref()),
    }));
}

/// A login came to nothing.
pub(crate) fn refused(user: &str, observed: Option<&Observed>, refusal: &Refusal) {
    let user: String = user.chars().take(LONGEST).collect();
    say(json!({
        "event": "login_denied", "user": user, "why": refusal.to_string(), "observed": place(observed),
    }));
}

/// Something was done on the command line.
pub(crate) fn changed(event: &'static str, user: &str) {
    say(json!({ "event": event, "user": user }));
}

/// Nodes are told of a lock.
pub(crate) fn locked(id: &str, target: &str, reason: &str) {
    say(json!({ "event": "locked", "lock": id, "target": target, "comment": reason }));
}

/// Nodes are told that a lock is gone.
pub(crate) fn unlocked(id: &str) {
    say(json!({ "event": "unlocked", "lock": id }));
}

/// Nodes get another policy.
pub(crate) fn published(version: u64) {
    say(json!({ "event": "policy_published", "version": version }));
}

fn place(observed: Option<&Observed>) -> Value {
    observed.map_or(Value::Null, |observed| json!({ "address": observed.address, "how": observed.how }))
}

fn say(mut event: Value) {
    event["time"] = clock::unix().into();
    println!("{event}");
}
