//! `farewell`: not for people; the agent starts it to have terminals told why their session ends.

use super::Exit;
use super::exit::Failure;
use crate::farewell;

/// Done if any terminal has taken the words, else denied.
pub(super) fn farewell() -> Result<Exit, Failure> {
    match farewell::say(std::io::stdin()) {
        Ok(true) => Ok(Exit::Done),
        Ok(false) => Ok(Exit::Denied),
        Err(error) => Err(Failure::usage(error)),
    }
}
