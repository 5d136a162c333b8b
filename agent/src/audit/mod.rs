//! Audit events: every decision is one JSON object, in the journal, in a file if configured, and for `events`.

mod event;
mod file;
mod journal;
mod limit;

pub use event::{CutCause, Event, Step, Subject, What};

use file::EventFile;
use limit::SourceLimit;
use pinning::{LoginReason, Mode};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::broadcast;

/// Events kept in memory for `events`.
const RECENT: usize = 1000;

/// Where every decision is written.
#[derive(Debug)]
pub struct Audit {
    node: String,
    state: Mutex<State>,
    live: broadcast::Sender<Event>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    file: EventFile,
    recent: VecDeque<Event>,
    denials: SourceLimit,
    drops: SourceLimit,
}

impl Audit {
    /// An audit trail of this node, with a copy in `file` if one is named.
    #[must_use]
    pub fn new(mode: Mode, file: Option<&Path>) -> Self {
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let state = State {
            mode,
            file: EventFile::new(file),
            recent: VecDeque::new(),
            denials: SourceLimit::default(),
            drops: SourceLimit::default(),
        };
        Self { node, state: Mutex::new(state), live: broadcast::channel(256).0 }
    }

    /// Writes one event, now.
    pub fn write(&self, what: What, subject: Subject) {
        let mut state = self.state();
        let event = Event { time: timestamp(), node: self.node.clone(), mode: state.mode, what, subject };
        let line = serde_json::to_string(&event)
            .unwrap_or_else(|error| format!("{{\"event\":\"error\",\"error\":\"{error}\"}}"));
        journal::write(&line);
        state.file.append(&line);
        state.recent.truncate(RECENT - 1);
        state.recent.push_front(event.clone());
        // Nobody following is not an error.
        let _followers = self.live.send(event);
    }

    /// Writes a denial, unless its source has had its share of lines; those are counted and summed up later.
    pub fn deny(&self, reason: LoginReason, step: Step, overruled: bool, subject: Subject) {
        let source = subject.observed.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
        if self.state().denials.admit(source, Instant::now()) {
            self.write(What::LoginDenied { reason, step, overruled }, subject);
        }
    }

    /// Writes a dropped packet that belongs to no session, unless its source has had its share of lines.
    pub fn drop_of_stranger(&self, source: IpAddr, reason: String, overruled: bool) {
        if self.state().drops.admit(Some(source), Instant::now()) {
            let what = What::PacketsDropped { session: None, reason, count: 1, overruled };
            self.write(what, of_source(Some(source)));
        }
    }

    /// Sums up what was not written one by one.
    pub fn summarise(&self) {
        let now = Instant::now();
        let (denials, drops) = {
            let mut state = self.state();
            (state.denials.summaries(now), state.drops.summaries(now))
        };
        for (source, count) in denials {
            self.write(What::DenialsSuppressed { count }, of_source(source));
        }
        for (source, count) in drops {
            self.write(What::DropsSuppressed { count }, of_source(source));
        }
    }

    /// The mode that events carry from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// Writes the copy to another file from now on.
    pub fn set_file(&self, file: Option<&Path>) {
        let former = std::mem::replace(&mut self.state().file, EventFile::new(file));
        // Waits for its disk; nobody else need.
        drop(former);
    }

    /// The latest events, oldest first, and those to come.
    #[must_use]
    pub fn follow(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let state = self.state();
        (state.recent.iter().rev().cloned().collect(), self.live.subscribe())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subject of which no more than its address is known.
pub(crate) fn of_source(source: Option<IpAddr>) -> Subject {
    Subject { observed: source.map(|address| address.to_string()), ..Subject::default() }
}

fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
