//! Audit events: every decision is one JSON object, in the journal, and in a file if configured.

mod event;

pub(crate) use event::{Subject, What};

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use cotter_api::Issued;
use cotter_trail::{EventFile, Journal, Queue, SourceLimit, WINDOW, largest};
use pinning::{Address, Observed};

use crate::files;
use crate::source::source;
use event::Event;

/// Longest name that is written; a stranger's may be anything.
const LONGEST: usize = 64;

/// Where every decision is written.
#[derive(Debug)]
pub struct Audit {
    node: String,
    cluster: String,
    journal: Option<Queue>,
    file: Mutex<(Option<PathBuf>, Option<Queue>)>,
    denials: Mutex<SourceLimit>,
}

impl Audit {
    /// That of an authority that runs: on standard output, which is the journal's, and in the file.
    ///
    /// # Errors
    /// There is no thread to write it.
    pub(crate) fn of_daemon(cluster: &str, file: Option<&Path>) -> io::Result<Self> {
        let journal = Queue::new("journal", |line| {
            // A closed standard output must not end the authority.
            let _lost = writeln!(io::stdout().lock(), "{line}");
        })?;
        Self::new(cluster, Some(journal), file)
    }

    /// That of a command, whose standard output is for other things: in the journal where there is one, and in the file.
    ///
    /// # Errors
    /// There is no thread to write it.
    pub(crate) fn of_command(cluster: &str, file: Option<&Path>) -> io::Result<Self> {
        if let Some(file) = file {
            // So that it is the authority's even if root runs the command before it has begun one itself.
            let _there = files::make_empty(file);
        }
        let journal = Journal::open();
        let queue = |journal: Journal| Queue::new("journal", move |line| journal.write(line));
        let journal = if journal.is_there() { Some(queue(journal)?) } else { None };
        Self::new(cluster, journal, file)
    }

    fn new(cluster: &str, journal: Option<Queue>, file: Option<&Path>) -> io::Result<Self> {
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let audit = Self {
            node,
            cluster: cluster.to_owned(),
            journal,
            file: Mutex::default(),
            denials: Mutex::default(),
        };
        audit.set_file(file)?;
        Ok(audit)
    }

    /// Writes one event, now.
    pub(crate) fn write(&self, what: What, subject: Subject) {
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let event = Event { time, node: &self.node, cluster: &self.cluster, what, subject };
        let line = serde_json::to_string(&event)
            .unwrap_or_else(|error| format!("{{\"event\":\"error\",\"error\":\"{error}\"}}"));
        if let Some(journal) = &self.journal {
            journal.push(&line);
        }
        if let Some(file) = &locked(&self.file).1 {
            file.push(&line);
        }
    }

    /// A login ends with a certificate.
    pub(crate) fn issued(
        &self,
        user: &str,
        observed: Option<&Observed>,
        issued: &Issued,
        key: String,
        ca: Option<String>,
    ) {
        let subject = || Subject {
            serial: Some(issued.serial),
            ca: ca.clone(),
            roles: issued.roles.clone(),
            pinned: issued.pinned.clone(),
            ..Subject::user(user).seen(observed).also_seen(issued.other_observed.as_ref())
        };
        self.write(What::LoginAllowed, subject());
        let what = What::CertificateIssued { key, logins: issued.logins.clone(), ends_at: issued.ends_at };
        self.write(what, subject());
    }

    /// Somebody was denied something, whoever they say they are if they do; written unless their source has had its share
    /// of lines, else counted and summed up later.
    pub(crate) fn denied(&self, what: What, user: Option<&str>, observed: Option<&Observed>) {
        let from = observed.map(|observed| source(observed.address));
        if locked(&self.denials).admit(from, Instant::now()) {
            let user = user.map(|user| user.chars().take(LONGEST).collect());
            self.write(what, Subject { user, ..Subject::default() }.seen(observed));
        }
    }

    /// Sums up what was not written one by one, of each source at most once a minute.
    pub(crate) fn summarise(&self) {
        self.summarise_at(Instant::now());
    }

    /// The same at the end, when the minutes are not waited for.
    pub(crate) fn summarise_all(&self) {
        self.summarise_at(Instant::now() + WINDOW);
    }

    fn summarise_at(&self, now: Instant) {
        let denials = largest(locked(&self.denials).summaries(now));
        for (from, count) in denials {
            let observed = from.map(|address| Address::from(address).to_string());
            self.write(What::DenialsSuppressed { count }, Subject { observed, ..Subject::default() });
        }
        let lost = self.journal.as_ref().map_or(0, Queue::take_lost)
            + locked(&self.file).1.as_ref().map_or(0, Queue::take_lost);
        if lost > 0 {
            self.write(What::LinesLost { count: lost }, Subject::default());
        }
    }

    /// Writes the copy to this file from now on.
    ///
    /// # Errors
    /// There is no thread to write it; the old file stays.
    pub(crate) fn set_file(&self, path: Option<&Path>) -> io::Result<()> {
        let mut file = locked(&self.file);
        if file.0.as_deref() == path {
            return Ok(());
        }
        let queue = path.map(event_file).transpose()?;
        let former = std::mem::replace(&mut *file, (path.map(Path::to_owned), queue));
        drop(file);
        // Waits a moment for its disk; nobody else need.
        drop(former);
        Ok(())
    }
}

fn event_file(path: &Path) -> io::Result<Queue> {
    let mut file = EventFile::at(path);
    Queue::new("event-log", move |line| file.append(line))
}

fn locked<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
