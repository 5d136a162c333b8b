//! `run`: the agent itself.

use super::exit::Failure;
use super::{Common, Exit};
use crate::daemon::{self, StartError};
use cotter_trail::Queue;
use std::io::Write;
use std::sync::Arc;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

pub(super) fn run(common: &Common) -> Result<Exit, Failure> {
    log().map_err(Failure::unavailable)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Both hooks' shares at once, and the agent's own periodic work.
        .max_blocking_threads(128)
        .enable_all()
        .build()
        .map_err(Failure::unavailable)?;
    match runtime.block_on(daemon::run(&common.config)) {
        Ok(()) => Ok(Exit::Done),
        Err(error @ StartError::Config(_)) => Err(Failure::usage(error)),
        Err(error) => Err(Failure::unavailable(chain(&error))),
    }
}

/// The agent's own log: standard error, which systemd hands on to the journal. A thread of its own writes it, since a
/// journal that hangs must not hang logins.
pub(super) fn log() -> std::io::Result<()> {
    // What the kernel programs say is not even compiled in unless the configuration asks for it.
    let level = Targets::new().with_default(LevelFilter::INFO).with_target("cotter_ebpf", LevelFilter::DEBUG);
    let queue = Queue::new("log", |line| {
        // A closed standard error must not end the agent.
        let _lost = std::io::stderr().write_all(line.as_bytes());
    })?;
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let writer = LogWriter { queue: Arc::new(queue), journal };
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
    let layer = if journal {
        lines.without_time().with_level(false).with_writer(writer).boxed()
    } else {
        lines.with_writer(writer).boxed()
    };
    tracing_subscriber::registry().with(level).with(layer).init();
    // What the kernel programs say comes in through the log crate.
    if let Err(error) = tracing_log::LogTracer::init() {
        tracing::warn!("what the kernel programs say is not logged: {error}");
    }
    Ok(())
}

/// Makes each event a line of the queue, with the level in front as the journal wants it (sd-daemon(3)).
struct LogWriter {
    queue: Arc<Queue>,
    journal: bool,
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { queue: Arc::clone(&self.queue), text: String::new() }
    }

    fn make_writer_for(&'a self, metadata: &tracing::Metadata<'_>) -> Line {
        let priority = match *metadata.level() {
            tracing::Level::ERROR => "<3>",
            tracing::Level::WARN => "<4>",
            tracing::Level::INFO => "<6>",
            _debug_or_trace => "<7>",
        };
        let text = if self.journal { priority.to_owned() } else { String::new() };
        Line { queue: Arc::clone(&self.queue), text }
    }
}

/// One event's text; it goes out when it is complete.
struct Line {
    queue: Arc<Queue>,
    text: String,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.queue.push(&self.text);
    }
}

/// An error with all its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
