//! `status`: as whom, from where, until when; and whether that is of use.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use cotter_api::Observation;
use jiff::Timestamp;
use pinning::Identity;
use serde_json::json;

use super::Failure;
use crate::credential::{self, Unfit};
use crate::home::{Home, Known};

/// What a login is worth, here and now.
pub(super) struct Standing {
    pub(super) identity: Option<Identity>,
    /// Where the authority sees us; `Err`: it cannot be asked, and why.
    pub(super) seen: Result<Observation, String>,
    pub(super) unfit: Option<Unfit>,
}

/// Asks the authority where we are, and compares. An authority that cannot be asked is no reason not to try.
pub(super) async fn standing(home: &Home, known: &Known) -> Result<Standing, Failure> {
    let identity = credential::identity(home).map_err(Failure::refused)?;
    let authority = known.authority().map_err(Failure::usage)?;
    let seen = authority.observed().await.map_err(|error| error.to_string());
    let unfit = match &seen {
        Ok(seen) => credential::unfit(identity.as_ref(), seen.address, unix()),
        // The address of the pin itself: only the time is compared.
        Err(_) => {
            let there = identity.as_ref().and_then(|it| it.pins.as_ref()?.networks().first().copied());
            credential::unfit(identity.as_ref(), there.map(|network| network.net().addr().into()), unix())
        }
    };
    Ok(Standing { identity, seen, unfit })
}

pub(super) async fn status(home: &Home, json: bool) -> Result<ExitCode, Failure> {
    let Some(known) = home.known().map_err(Failure::refused)? else {
        return Err(Failure::refused("you are not logged in: cotter login --authority URL"));
    };
    let standing = standing(home, &known).await?;
    if json {
        show_json(&known, &standing);
    } else {
        show(&known, &standing);
    }
    Ok(if standing.unfit.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn show_json(known: &Known, standing: &Standing) {
    let Standing { identity, seen, unfit } = standing;
    let seen = seen.as_ref().ok();
    println!(
        "{}",
        json!({
            "authority": known.authority, "user": known.user,
            "logins": identity.as_ref().map(|it| &it.principals),
            "pinned": identity.as_ref().and_then(|it| it.pins.as_ref()),
            "ends_at": identity.as_ref().map(|it| it.valid_before),
            "observed": seen.and_then(|seen| seen.address), "how": seen.and_then(|seen| seen.how.as_ref()),
            "fits": unfit.is_none(), "why": unfit.as_ref().map(ToString::to_string),
        })
    );
}

fn show(known: &Known, standing: &Standing) {
    println!("authority  {}", known.authority);
    println!("user       {}", known.user);
    if let Some(identity) = &standing.identity {
        println!("logins     {}", identity.principals.join(", "));
        println!("pinned     {}", identity.pins.as_ref().map_or("no".to_owned(), ToString::to_string));
        let end = i64::try_from(identity.valid_before).ok().and_then(|end| Timestamp::from_second(end).ok());
        println!("until      {}", end.map_or("for ever".to_owned(), |end| end.to_string()));
    }
    match &standing.seen {
        Ok(Observation { address: Some(address), how: Some(how) }) => {
            println!("you are at {address} ({how})")
        }
        Ok(_) => println!("nobody vouches for your address"),
        Err(why) => println!("where you are is not known: {why}"),
    }
    if let Some(unfit) = &standing.unfit {
        println!("{unfit}: cotter login");
    }
}

/// Unix seconds; 0 before 1970.
fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
