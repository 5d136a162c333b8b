//! What is counted as it happens: decisions about logins, how long they took, and every kind of audit event.

use std::time::Duration;

use pinning::LoginReason;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::audit::Step;
use crate::knock::Refusal;

/// A label and its value.
type Label = (&'static str, &'static str);

/// Counts since the agent's start; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    logins: Family<[Label; 3], Counter>,
    durations: Family<[Label; 1], Histogram, fn() -> Histogram>,
    knocks: Family<[Label; 2], Counter>,
    events: Family<[(&'static str, String); 1], Counter>,
}

impl Default for Tally {
    fn default() -> Self {
        let tally = Self {
            logins: Family::default(),
            durations: Family::new_with_constructor(decision_time),
            knocks: Family::default(),
            events: Family::default(),
        };
        tally.begin_at_zero();
        tally
    }
}

/// The events that alert rules go by.
const ALERTING: [&str; 4] = ["attachment_lost", "overtaken", "session_cut", "penalised"];

/// From a quarter of a millisecond to two seconds, after which the hook no longer waits.
fn decision_time() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 14))
}

impl Tally {
    /// Begins what rules ask the increase of: a count that only comes to be with the first event has not increased.
    fn begin_at_zero(&self) {
        for event in ALERTING {
            drop(self.events.get_or_create(&[("event", event.to_owned())]));
        }
        for reason in LoginReason::ALL.into_iter().filter(|reason| *reason != LoginReason::Allowed) {
            for step in [Step::Principals, Step::Session] {
                drop(self.logins.get_or_create(&labels(Outcome::Denied, reason, step)));
            }
        }
        drop(self.logins.get_or_create(&labels(Outcome::Allowed, LoginReason::Allowed, Step::Session)));
    }

    /// Counts a decision about a login.
    pub(crate) fn login(&self, outcome: Outcome, reason: LoginReason, step: Step) {
        self.logins.get_or_create(&labels(outcome, reason, step)).inc();
    }

    /// Counts how long the decision took that sshd was waiting for.
    pub(crate) fn decided(&self, step: Step, took: Duration) {
        self.durations.get_or_create(&[("step", step.name())]).observe(took.as_secs_f64());
    }

    /// Begins the counts of knocks, on a node that hears them.
    pub(crate) fn begin_knocks(&self) {
        for heard in Refusal::all().map(Err).chain([Ok(())]) {
            drop(self.knocks.get_or_create(&knock_labels(heard)));
        }
    }

    /// Counts a knock.
    pub(crate) fn knock(&self, heard: Result<(), Refusal>) {
        self.knocks.get_or_create(&knock_labels(heard)).inc();
    }

    /// How many knocks were accepted, and refused for whatever reason.
    pub(crate) fn knocks(&self) -> (u64, u64) {
        let count = |heard| self.knocks.get_or_create(&knock_labels(heard)).get();
        (count(Ok(())), Refusal::all().map(|why| count(Err(why))).sum())
    }

    /// Counts an audit event.
    pub(crate) fn event(&self, name: &str) {
        self.events.get_or_create(&[("event", name.to_owned())]).inc();
    }

    /// Adds what was counted to a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("logins", "Decisions about logins", self.logins.clone());
        registry.register_with_unit(
            "login_decision",
            "How long sshd waited for a decision",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register("knocks", "Knocks that were heard", self.knocks.clone());
        registry.register("events", "Audit events", self.events.clone());
    }
}

fn knock_labels(heard: Result<(), Refusal>) -> [Label; 2] {
    match heard {
        Ok(()) => [("outcome", "accepted"), ("reason", "accepted")],
        Err(why) => [("outcome", "refused"), ("reason", why.name())],
    }
}

fn labels(outcome: Outcome, reason: LoginReason, step: Step) -> [Label; 3] {
    [("outcome", outcome.name()), ("reason", reason.as_str()), ("step", step.name())]
}

/// What became of a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Let in.
    Allowed,
    /// Denied.
    Denied,
    /// Denied by the rules, and let in by audit mode.
    Overruled,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Overruled => "overruled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{CutCause, What};

    #[test]
    fn the_events_that_rules_go_by_are_called_so() {
        let (interface, error) = (String::new(), String::new());
        let events = [
            What::AttachmentLost { interface: interface.clone(), error },
            What::Overtaken { interface, method: String::new(), by: Vec::new() },
            What::SessionCut { session: String::new(), cause: CutCause::Lock, sockets: 1, overruled: false },
            What::Penalised { seconds: 1 },
        ];
        let names = events.map(|event| serde_json::to_value(event).unwrap()["event"].clone());
        assert_eq!(names, ALERTING.map(serde_json::Value::from));
    }
}
