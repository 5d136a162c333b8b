//! The node's mode: what the configuration asks for, what a command has set, and what it goes back to.

use super::call::ModeInForce;
use pinning::Mode;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The mode in force and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeMode {
    configured: Mode,
    commanded: Option<Commanded>,
    trial: Option<Trial>,
}

/// A mode set by command; it counts until the configuration asks for something else than it did then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commanded {
    /// The mode.
    pub(crate) mode: Mode,
    /// What the configuration asked for when it was set.
    pub(crate) configured: Mode,
}

/// A mode on trial: it ends by itself unless confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trial {
    /// The mode on trial.
    pub(crate) mode: Mode,
    /// When it ends.
    pub(crate) until: Instant,
}

impl NodeMode {
    /// The mode at start: what was stored counts if the configuration still says what it said then.
    #[must_use]
    pub(crate) fn new(configured: Mode, stored: Option<Commanded>) -> Self {
        let commanded = stored.filter(|stored| stored.configured == configured);
        Self { configured, commanded, trial: None }
    }

    /// The mode in force at a moment.
    #[must_use]
    pub(crate) fn at(&self, now: Instant) -> Mode {
        self.trial_at(now).map_or(self.settled(), |trial| trial.mode)
    }

    /// The mode without what is on trial.
    #[must_use]
    pub(crate) fn settled(&self) -> Mode {
        self.commanded.map_or(self.configured, |commanded| commanded.mode)
    }

    /// The mode on trial, if there is one.
    #[must_use]
    pub(crate) fn trial_at(&self, now: Instant) -> Option<Trial> {
        self.trial.filter(|trial| now < trial.until)
    }

    /// What is to be stored.
    #[must_use]
    pub(crate) fn to_store(&self) -> Option<Commanded> {
        self.commanded
    }

    /// Sets a mode for good; this also confirms one on trial.
    pub(crate) fn set(&mut self, mode: Mode) {
        self.commanded = Some(Commanded { mode, configured: self.configured });
        self.trial = None;
    }

    /// Sets a mode on trial.
    pub(crate) fn try_out(&mut self, mode: Mode, within: Duration, now: Instant) {
        self.trial = Some(Trial { mode, until: now + within });
    }

    /// Whether a trial has run out and was not ended yet.
    #[must_use]
    pub(crate) fn trial_is_over(&self, now: Instant) -> bool {
        self.trial.is_some_and(|trial| trial.until <= now)
    }

    /// How long a trial goes on.
    #[must_use]
    pub(crate) fn until_trial_ends(&self, now: Instant) -> Option<Duration> {
        self.trial.map(|trial| trial.until.saturating_duration_since(now))
    }

    /// Ends a trial that has run out; one that was confirmed or set anew meanwhile goes on.
    pub(crate) fn end_trial(&mut self, now: Instant) {
        if self.trial_is_over(now) {
            self.trial = None;
        }
    }

    /// A new configuration is in force; one that asks for another mode than before overrules the command.
    pub(crate) fn reconfigure(&mut self, configured: Mode) {
        if configured != self.configured {
            self.commanded = None;
        }
        self.configured = configured;
    }

    /// For the command line.
    #[must_use]
    pub(crate) fn in_force(&self, now: Instant) -> ModeInForce {
        let trial = self.trial_at(now);
        ModeInForce {
            mode: self.at(now),
            configured: self.configured,
            goes_back_to: trial.map(|_| self.settled()),
            seconds_left: trial.map(|trial| trial.until.duration_since(now).as_secs()),
            problem: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_mode_on_trial_goes_back_by_itself() {
        let (now, mut mode) = (Instant::now(), NodeMode::new(Mode::Audit, None));
        mode.try_out(Mode::Enforce, MINUTE, now);
        assert_eq!(mode.at(now), Mode::Enforce);
        assert_eq!(mode.at(now + MINUTE), Mode::Audit);
        assert!(mode.trial_is_over(now + MINUTE));
        mode.end_trial(now + MINUTE);
        assert!(!mode.trial_is_over(now + MINUTE));
        assert_eq!(mode.to_store(), None, "a trial is never stored");
    }

    #[test]
    fn setting_the_mode_confirms_a_trial() {
        let (now, mut mode) = (Instant::now(), NodeMode::new(Mode::Audit, None));
        mode.try_out(Mode::Enforce, MINUTE, now);
        mode.set(Mode::Enforce);
        assert_eq!(mode.at(now + 2 * MINUTE), Mode::Enforce);
    }

    #[test]
    fn a_commanded_mode_counts_until_the_configuration_changes_its_mind() {
        let now = Instant::now();
        let stored = Some(Commanded { mode: Mode::Enforce, configured: Mode::Audit });
        let mut mode = NodeMode::new(Mode::Audit, stored);
        assert_eq!(mode.at(now), Mode::Enforce);
        mode.reconfigure(Mode::Audit);
        assert_eq!(mode.at(now), Mode::Enforce);
        mode.reconfigure(Mode::Off);
        assert_eq!(mode.at(now), Mode::Off);
        assert_eq!(NodeMode::new(Mode::Off, stored).at(now), Mode::Off);
    }
}
