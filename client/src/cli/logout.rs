//! `logout`: the end of a login. What is known of the authority stays.

use std::process::ExitCode;

use super::{Context, Failure};
use crate::credential;

pub(super) fn logout(context: &Context) -> Result<ExitCode, Failure> {
    let drawer = context.drawer(context.known()?)?;
    match credential::forget(&drawer)? {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failure::refused("you are not logged in")),
    }
}
