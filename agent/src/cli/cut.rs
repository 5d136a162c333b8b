//! `cut`: ends a session.

use super::exit::Failure;
use super::{Common, Exit, client, output};
use crate::daemon::call::{Answer, Call};
use crate::session::SessionId;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The session's id, as `sessions` lists it
    session: SessionId,
}

pub(super) fn cut(common: &Common, options: &Options) -> Result<Exit, Failure> {
    let answer = client::call(common, &Call::Cut { session: options.session })?;
    done(common, &answer)
}

/// Prints what was done.
pub(super) fn done(common: &Common, answer: &Answer) -> Result<Exit, Failure> {
    match answer {
        _ if common.json => output::json(answer),
        Answer::Done { text } => output::line(text),
        other => return Err(unexpected(other)),
    }
    Ok(Exit::Done)
}

/// The agent gave the answer to another question.
pub(super) fn unexpected(answer: &Answer) -> Failure {
    Failure::unavailable(format!("the agent gave an unexpected answer: {answer:?}"))
}
