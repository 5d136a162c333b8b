//! A new login where the old one is of no use any more: at most one a command, with one line that says what changed.

use cotter_api::AuthorityError;

use super::login::{self, Proof};
use super::standing::Standing;
use super::{Context, Failure};
use crate::credential::Unfit;
use crate::ending::Endings;
use crate::home::Patience;
use crate::known::{Becomes, Known};
use crate::terminal::{self, tell, tell_before_asking};

/// Somebody sits at the terminal, and sees what is waited for.
pub(super) const A_PERSONS: Patience =
    Patience::APersons(|| tell("another cotter is asking for your password; waiting for it"));

/// Sees to it that the certificate is of use, as far as the authority can tell; whether somebody was asked. Signals are caught
/// then, for as long as this process lives.
pub(super) async fn renew(context: &Context, known: &Known) -> Result<bool, Failure> {
    let Some(unfit) = unfit(context, known).await? else { return Ok(false) };
    if !terminal::is_there() {
        let what = "there is no terminal to ask for your password at: run `cotter login` at one";
        return Err(Failure::refused(format!("{unfit}; {what}")));
    }
    Endings::listen().map_err(Failure::unreachable)?.unless(ask(context, known)).await??;
    Ok(true)
}

/// Asks, of several processes that are started at once one alone.
async fn ask(context: &Context, known: &Known) -> Result<(), Failure> {
    let _turn = context.home.turn(A_PERSONS).await?;
    // Somebody may have logged in between the first look and now.
    let Some(unfit) = unfit(context, known).await? else { return Ok(()) };
    tell_before_asking(format!("{unfit}; logging in again"));
    login::log_in(context, known, Proof::Asked, Becomes::NoOther).await
}

/// Why a new login is needed, if it is. Where nobody can tell, the old one is tried, with a warning.
async fn unfit(context: &Context, known: &Known) -> Result<Option<Unfit>, Failure> {
    let standing = Standing::look(context, known).await?;
    match (standing.unfit, standing.seen) {
        (None, Ok(_)) => Ok(None),
        (None, Err(another @ AuthorityError::Another { .. })) => Err(another.into()),
        (None, Err(error)) => {
            tell(format!("{error}; trying the certificate that you have"));
            Ok(None)
        }
        // A new login would know no better.
        (Some(unknown @ Unfit::Unknown { .. }), _) => {
            tell(format!("{unknown}; trying it"));
            Ok(None)
        }
        (Some(unfit), Ok(_)) => Ok(Some(unfit)),
        (Some(unfit), Err(error)) => {
            let Failure { code, message } = error.into();
            Err(Failure { code, message: format!("{unfit}, and you cannot log in again: {message}") })
        }
    }
}
