//! `logout`: the end of a login. What is known of the authority stays.

use std::process::ExitCode;

use clap::Args;

use super::{Context, Failure};
use crate::credential::{self, CredentialError};
use crate::home::Patience;
use crate::terminal::tell;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Remove the files also if the key may still be in an ssh-agent
    #[arg(long)]
    force: bool,
}

pub(super) async fn logout(context: &Context, options: &Options) -> Result<ExitCode, Failure> {
    // Whoever is just logging in comes first; somebody who sits before a question is not waited for.
    let _turn = context.home.turn(Patience::AMoment).await.ok();
    let drawer = context.drawer(&context.known()?)?;
    let had = match credential::forget(&drawer) {
        Err(kept @ CredentialError::Kept(_)) if options.force => {
            tell(kept);
            drawer.empty()?
        }
        Err(kept @ CredentialError::Kept(_)) => {
            let what = "run this where SSH_AUTH_SOCK names that agent, or with --force if it is gone";
            return Err(Failure::refused(format!("{kept}; {what}")));
        }
        had => had.map_err(Failure::refused)?,
    };
    if had { Ok(ExitCode::SUCCESS) } else { Err(Failure::refused("you are not logged in")) }
}
