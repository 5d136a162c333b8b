//! `run`: the agent itself.

use super::exit::Failure;
use super::{Common, Exit};
use crate::daemon::{self, StartError};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

pub(super) fn run(common: &Common) -> Result<Exit, Failure> {
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Both hooks' shares at once, and the agent's own periodic work.
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .map_err(Failure::unavailable)?;
    match runtime.block_on(daemon::run(&common.config)) {
        Ok(()) => Ok(Exit::Done),
        Err(error @ StartError::Config(_)) => Err(Failure::usage(error)),
        Err(error) => Err(Failure::unavailable(chain(&error))),
    }
}

/// The agent's own log: the journal where there is one, standard error elsewhere.
fn log() {
    // What the kernel programs say is not even compiled in unless the configuration asks for it.
    let level = Targets::new().with_default(LevelFilter::INFO).with_target("cotter_ebpf", LevelFilter::DEBUG);
    let journal = tracing_journald::layer().ok();
    let plain = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false)
    });
    tracing_subscriber::registry().with(level).with(journal).with(plain).init();
    // What the kernel programs say comes in through the log crate.
    if let Err(error) = tracing_log::LogTracer::init() {
        tracing::warn!("what the kernel programs say is not logged: {error}");
    }
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
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
