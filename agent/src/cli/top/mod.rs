//! `top`: sessions, packets and denials, as they come and go.

mod columns;
mod look;
mod model;
mod terminal;
mod view;

use super::exit::Failure;
use super::{Common, Exit, client, output};
use look::Look;
use model::Model;
use std::io::{self, IsTerminal};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// How often to look, such as 500ms or 2s; at least 200ms
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "1s")]
    interval: Duration,
}

/// Shorter intervals would show the agent at work on nothing but being looked at.
const SHORTEST: Duration = Duration::from_millis(200);

fn interval(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}; write 500ms or 2s"))?;
    Duration::try_from(span)
        .ok()
        .filter(|interval| *interval >= SHORTEST)
        .ok_or_else(|| "must be at least 200ms".to_owned())
}

/// On a terminal until a key or a signal ends it; with `--json`, one object a look on a line of its own.
///
/// An agent that answers the first time and then goes away is waited for.
pub(super) fn top(common: &Common, options: &Options) -> Result<Exit, Failure> {
    if common.json {
        return stream(common, options.interval);
    }
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Failure::usage("top needs a terminal; top --json, status and sessions do without"));
    }
    let first = Look::take(common)?;
    terminal::watch(common, options.interval, Model::new(first))?;
    Ok(Exit::Done)
}

/// Looks and prints until interrupted.
fn stream(common: &Common, interval: Duration) -> Result<Exit, Failure> {
    let mut before = Look::take(common)?;
    output::json_line(&before.since(None));
    loop {
        std::thread::sleep(interval);
        match Look::take(common) {
            Ok(look) => {
                output::json_line(&look.since(Some(&before)));
                before = look;
            }
            Err(failure) => output::json_line(&serde_json::json!({ "error": failure.message() })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_written_as_people_write_it_and_not_too_short() {
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("200ms"), Ok(SHORTEST));
        for wrong in ["", "1", "0s", "199ms", "-1s", "often"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
