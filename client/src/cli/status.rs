//! `status`: as whom, from where, until when; and whether that is of use.

use std::process::ExitCode;

use cotter_api::{AuthorityError, plain};
use serde_json::json;

use super::standing::Standing;
use super::{Context, Failure};
use crate::credential::moment;
use crate::known::Known;

pub(super) async fn status(context: &Context) -> Result<ExitCode, Failure> {
    show(context, &context.known()?).await
}

/// Shows what a login is worth; 0 if it is of use, 1 if not, 3 if nobody can tell.
pub(super) async fn show(context: &Context, known: &Known) -> Result<ExitCode, Failure> {
    let standing = Standing::look(context, known).await?;
    if context.json {
        show_json(known, &standing);
    } else {
        show_text(known, &standing);
    }
    Ok(match (&standing.unfit, &standing.seen) {
        (None, Ok(_)) => ExitCode::SUCCESS,
        (Some(_), _) | (None, Err(AuthorityError::Another { .. })) => ExitCode::from(1),
        (None, Err(AuthorityError::Refused(_) | AuthorityError::Unreachable { .. })) => ExitCode::from(3),
    })
}

fn show_json(known: &Known, standing: &Standing) {
    let Standing { identity, seen, unfit } = standing;
    println!(
        "{}",
        json!({
            "authority": known.authority, "user": known.user,
            "logins": identity.as_ref().map(|it| &it.principals),
            "pinned": identity.as_ref().and_then(|it| it.pins.as_ref()),
            "ends_at": identity.as_ref().map(|it| it.valid_before),
            "observed": seen.as_ref().ok(), "error": seen.as_ref().err().map(ToString::to_string),
            "fits": unfit.is_none(), "why": unfit.as_ref().map(ToString::to_string),
        })
    );
}

fn show_text(known: &Known, standing: &Standing) {
    println!("authority  {}", known.authority);
    println!("user       {}", known.user);
    if let Some(identity) = &standing.identity {
        println!("logins     {}", plain(&identity.principals.join(", ")));
        println!("pinned     {}", identity.pins.as_ref().map_or("no".to_owned(), ToString::to_string));
        println!("until      {}", moment(identity.valid_before));
    }
    match &standing.seen {
        Ok(seen) => seen.iter().for_each(|it| match (it.address, &it.how) {
            (Some(address), Some(how)) => println!("you are at {address} ({})", plain(&how.to_string())),
            _ => println!("nobody vouches for your address"),
        }),
        Err(why) => println!("where you are is not known: {}", plain(&why.to_string())),
    }
    if let Some(unfit) = &standing.unfit {
        println!("{unfit}: cotter login");
    }
}
