//! `doctor`: what would keep Cotter from working, one line a finding, each with its remedy.

use super::exit::Failure;
use super::{Common, Exit, client, output};
use crate::daemon::call::{Answer, Call, Status};
use crate::doctor::{self, Level};

pub(super) fn doctor(common: &Common) -> Result<Exit, Failure> {
    let findings =
        doctor::examine(&common.config, status(common).map_err(|failure| failure.message().to_owned()));
    if common.json {
        output::json(&findings);
    } else {
        for finding in &findings {
            let remedy = finding.remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
            output::line(&format!("{:<8} {}{remedy}", finding.level.name(), finding.what));
        }
    }
    Ok(match findings.iter().map(|finding| finding.level).max() {
        Some(Level::Error) => Exit::Usage,
        Some(Level::Warning) => Exit::Denied,
        Some(Level::Ok) | None => Exit::Done,
    })
}

fn status(common: &Common) -> Result<Box<Status>, Failure> {
    let answer = client::call(common, &Call::Status)?;
    let Answer::Status(status) = answer else { return Err(client::unexpected(&answer)) };
    Ok(status)
}
