//! `mode`: shows or sets the node's mode.

use super::exit::Failure;
use super::{Common, Exit, client, output};
use crate::daemon::call::{Answer, Call, ModeInForce};
use pinning::Mode;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// enforce: deny and drop; audit: only report; off: nothing. Without it, the mode is shown
    mode: Option<Mode>,
    /// Go back to the present mode by itself after this time, unless `mode enforce` is said once more
    #[arg(long, value_name = "DURATION", value_parser = seconds, requires = "mode")]
    confirm_within: Option<u64>,
}

/// Parses `90s`, `5m`, `1h`, `1h 30m`, …; seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}; write 90s, 5m or 1h"))?;
    u64::try_from(span.as_secs())
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| "must be at least 1s".to_owned())
}

pub(super) fn mode(common: &Common, options: &Options) -> Result<Exit, Failure> {
    let call = match options.mode {
        None => Call::Mode,
        Some(mode) => Call::SetMode { mode, confirm_within: options.confirm_within },
    };
    let answer = client::call(common, &call)?;
    let Answer::Mode(in_force) = answer else { return Err(client::unexpected(&answer)) };
    if common.json {
        output::json(&in_force);
    } else {
        output::line(&sentence(&in_force));
    }
    if let Some(problem) = in_force.problem {
        eprintln!("cotter-agent: {problem}");
        return Ok(Exit::Unavailable);
    }
    Ok(Exit::Done)
}

/// The mode and what will become of it.
pub(super) fn sentence(in_force: &ModeInForce) -> String {
    let mode = in_force.mode;
    match (in_force.goes_back_to, in_force.seconds_left) {
        (Some(back), Some(left)) => {
            format!("{mode} (goes back to {back} in {left} s; to confirm: cotter-agent mode {mode})")
        }
        _ if mode == in_force.configured => mode.to_string(),
        _ => format!("{mode} (set by command; the configuration says {})", in_force.configured),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_write_them() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("1h 30m"), Ok(5400));
        for wrong in ["", "5", "-5m", "0s", "fast"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
