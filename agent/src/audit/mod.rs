//! Audit events: every decision is one JSON object, in the journal, in a file if configured, and for `events`.

mod event;

pub use event::{CutCause, Event, Step, Subject, What};

use crate::budget::Budget;
use crate::knock::Refusal;
use crate::metrics::{Outcome, Tally};
use crate::source::source;
use cotter_trail::{EventFile, Journal, Queue, SourceLimit, WINDOW, largest};
use pinning::{LoginReason, Mode};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// Events kept in memory for `events`.
const RECENT: usize = 1000;
/// Knocks that are written at once, and then one a second: whoever sends datagrams says where they are from.
const KNOCKS: Duration = Duration::from_secs(60);

/// Where every decision is written.
#[derive(Debug)]
pub struct Audit {
    node: String,
    journal: Queue,
    state: Mutex<State>,
    live: broadcast::Sender<Event>,
    tally: Tally,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    file: Option<Queue>,
    file_path: Option<PathBuf>,
    recent: VecDeque<Event>,
    denials: SourceLimit,
    drops: SourceLimit,
    knocks: SourceLimit,
    /// Of lines, a second each.
    knock_lines: Budget,
}

impl Audit {
    /// An audit trail of this node, with a copy in `file` if one is named.
    ///
    /// # Errors
    /// There is no thread to write it.
    pub fn new(mode: Mode, file: Option<&Path>) -> io::Result<Self> {
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let journal = Journal::open();
        let journal = Queue::new("journal", move |line| journal.write(line))?;
        let state = State {
            mode,
            file: file.map(event_file).transpose()?,
            file_path: file.map(Path::to_owned),
            recent: VecDeque::new(),
            denials: SourceLimit::default(),
            drops: SourceLimit::default(),
            knocks: SourceLimit::default(),
            knock_lines: Budget::one_in(1, KNOCKS, Instant::now()),
        };
        Ok(Self {
            node,
            journal,
            state: Mutex::new(state),
            live: broadcast::channel(256).0,
            tally: Tally::default(),
        })
    }

    /// Writes one event, now.
    pub fn write(&self, what: What, subject: Subject) {
        self.count(&what);
        let mut state = self.state();
        let event = Event { time: timestamp(), node: self.node.clone(), mode: state.mode, what, subject };
        let line = serde_json::to_string(&event)
            .unwrap_or_else(|error| format!("{{\"event\":\"error\",\"error\":\"{error}\"}}"));
        self.journal.push(&line);
        if let Some(file) = &state.file {
            file.push(&line);
        }
        state.recent.truncate(RECENT - 1);
        state.recent.push_front(event.clone());
        // Nobody following is not an error.
        let _followers = self.live.send(event);
    }

    /// Writes a denial, unless its source has had its share of lines; those are counted and summed up later.
    pub fn deny(&self, reason: LoginReason, step: Step, overruled: bool, subject: Subject) {
        let outcome = if overruled { Outcome::Overruled } else { Outcome::Denied };
        self.tally.login(outcome, reason, step);
        let observed = subject.observed.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
        if self.state().denials.admit(observed.map(source), Instant::now()) {
            self.write(What::LoginDenied { reason, step, overruled }, subject);
        }
    }

    /// Counts a knock that has opened a door, and writes it, within the same limits as those that have not.
    pub(crate) fn accept_knock(&self, lasting: Duration, subject: Subject) {
        self.tally.knock(Ok(()));
        if self.state().admits_knock_of(&subject) {
            self.write(What::KnockAccepted { seconds: lasting.as_secs() }, subject);
        }
    }

    /// Counts a refused knock. It is written if it is known whose certificate it has, unless its source, or all of them
    /// together, have had their share of lines; those are counted and summed up later.
    pub(crate) fn refuse_knock(&self, why: Refusal, of: Option<Subject>) {
        self.tally.knock(Err(why));
        if let Some(subject) = of.filter(|subject| self.state().admits_knock_of(subject)) {
            self.write(What::KnockRefused { reason: why.name().to_owned() }, subject);
        }
    }

    /// Writes a dropped packet that belongs to no session, unless its source has had its share of lines.
    pub fn drop_of_stranger(&self, address: IpAddr, reason: String, overruled: bool) {
        if self.state().drops.admit(Some(source(address)), Instant::now()) {
            let what = What::PacketsDropped { session: None, reason, count: 1, overruled };
            self.write(what, of_source(Some(address)));
        }
    }

    /// Everything that was decided and happened, as numbers.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    fn count(&self, what: &What) {
        if let What::LoginAllowed { reason: LoginReason::Allowed, .. } = what {
            self.tally.login(Outcome::Allowed, LoginReason::Allowed, Step::Session);
        }
        self.tally.event(what.name());
    }

    /// Sums up what was not written one by one, of each source at most once a minute.
    pub fn summarise(&self) {
        self.summarise_at(Instant::now());
    }

    /// The same at the agent's end, when the minutes are not waited for.
    pub fn summarise_all(&self) {
        self.summarise_at(Instant::now() + WINDOW);
    }

    fn summarise_at(&self, now: Instant) {
        let (denials, drops, knocks) = {
            let mut state = self.state();
            let State { denials, drops, knocks, .. } = &mut *state;
            (largest(denials.summaries(now)), largest(drops.summaries(now)), largest(knocks.summaries(now)))
        };
        for (source, count) in denials {
            self.write(What::DenialsSuppressed { count }, of_source(source));
        }
        for (source, count) in drops {
            self.write(What::DropsSuppressed { count }, of_source(source));
        }
        for (source, count) in knocks {
            self.write(What::KnocksSuppressed { count }, of_source(source));
        }
        let lost = self.journal.take_lost() + self.state().file.as_ref().map_or(0, Queue::take_lost);
        if lost > 0 {
            self.write(What::LinesLost { count: lost }, Subject::default());
        }
    }

    /// The mode that events carry.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.state().mode
    }

    /// The mode that events carry from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// Writes the copy to another file from now on.
    ///
    /// # Errors
    /// There is no thread to write it; the old file stays.
    pub fn set_file(&self, file: Option<&Path>) -> io::Result<()> {
        let mut state = self.state();
        if state.file_path.as_deref() == file {
            return Ok(());
        }
        let former = std::mem::replace(&mut state.file, file.map(event_file).transpose()?);
        state.file_path = file.map(Path::to_owned);
        drop(state);
        // Waits a moment for its disk; nobody else need.
        drop(former);
        Ok(())
    }

    /// The latest events, oldest first, and those to come.
    #[must_use]
    pub fn follow(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let state = self.state();
        (state.recent.iter().rev().cloned().collect(), self.live.subscribe())
    }

    /// The latest denied logins that were written one by one, the latest first.
    #[must_use]
    pub fn latest_denials(&self, at_most: usize) -> Vec<Event> {
        let state = self.state();
        let denied = state.recent.iter().filter(|event| matches!(event.what, What::LoginDenied { .. }));
        denied.take(at_most).cloned().collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a knock; true if it is to be written.
    fn admits_knock_of(&mut self, subject: &Subject) -> bool {
        let now = Instant::now();
        let of_one = subject.observed.as_deref().and_then(|text| text.parse::<IpAddr>().ok()).map(source);
        // When all lines are spent, they are of nobody in particular.
        let source = of_one.filter(|_| self.knock_lines.is_left(now));
        let admitted = self.knocks.admit(source, now);
        if admitted {
            self.knock_lines.spend(Duration::from_secs(1), now);
        }
        admitted
    }
}

fn event_file(path: &Path) -> io::Result<Queue> {
    let mut file = EventFile::at(path);
    Queue::new("event-log", move |line| file.append(line))
}

/// A subject of which no more than its address is known.
pub(crate) fn of_source(source: Option<IpAddr>) -> Subject {
    Subject { observed: source.map(|address| address.to_string()), ..Subject::default() }
}

fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
