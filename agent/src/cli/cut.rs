//! `cut`: ends a session.

use super::exit::Failure;
use super::{Common, Exit, client};
use crate::daemon::call::Call;
use crate::session::SessionId;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The session's id, as `sessions` lists it
    session: SessionId,
}

pub(super) fn cut(common: &Common, options: &Options) -> Result<Exit, Failure> {
    let answer = client::call(common, &Call::Cut { session: options.session })?;
    client::done(common, &answer)
}
