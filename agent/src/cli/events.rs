//! `events`: the latest decisions, and those to come.

use super::exit::Failure;
use super::{Common, Exit, client, output};
use crate::audit::Event;
use crate::daemon::call::{Answer, Call};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Go on with new events until interrupted
    #[arg(long, short)]
    follow: bool,
}

pub(super) fn events(common: &Common, options: &Options) -> Result<Exit, Failure> {
    let mut answers = client::open(common, &Call::Events { follow: options.follow })?;
    if options.follow {
        answers.wait_forever()?;
    }
    while let Some(answer) = answers.next()? {
        if let Answer::Refused { why } = answer {
            return Err(Failure::unavailable(why));
        }
        let Answer::Event(event) = answer else { return Err(client::unexpected(&answer)) };
        if common.json {
            output::json_line(&event);
        } else {
            output::line(&sentence(&event));
        }
    }
    Ok(Exit::Done)
}

/// One event on one line: when, what, who, from where.
fn sentence(event: &Event) -> String {
    let what = serde_json::to_value(&event.what).unwrap_or_default();
    let mut line = format!("{}  {}", event.time, event.what.name().replace('_', " "));
    for (key, value) in what.as_object().into_iter().flatten().filter(|(key, _)| *key != "event") {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if !value.is_null() && shown != "false" {
            line.push_str(&format!("  {key}={shown}"));
        }
    }
    let subject = &event.subject;
    let (login, from) = (subject.login.clone(), subject.observed.clone());
    for (key, value) in [("user", subject.person()), ("login", login), ("from", from)] {
        if let Some(value) = value {
            line.push_str(&format!("  {key}={value}"));
        }
    }
    if !subject.pinned.is_empty() {
        line.push_str(&format!("  pinned={}", subject.pinned.join(",")));
    }
    line
}
