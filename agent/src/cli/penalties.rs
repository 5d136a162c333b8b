//! `penalties`: sources that are kept out.

use super::exit::Failure;
use super::{Common, Exit, client, output};
use crate::daemon::call::{Answer, Call};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Let all of them in again
    Clear,
}

pub(super) fn penalties(common: &Common, options: &Options) -> Result<Exit, Failure> {
    if let Some(Command::Clear) = options.command {
        return client::done(common, &client::call(common, &Call::ClearPenalties)?);
    }
    let answer = client::call(common, &Call::Penalties)?;
    let Answer::Penalties { penalties } = answer else { return Err(client::unexpected(&answer)) };
    if common.json {
        output::json(&penalties);
    } else if penalties.is_empty() {
        output::line("no source is kept out");
    } else {
        let rows = penalties.into_iter().map(|it| vec![it.address, output::duration(it.seconds_left)]);
        output::table(&["SOURCE", "FOR"], rows.collect());
    }
    Ok(Exit::Done)
}
