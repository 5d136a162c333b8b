//! `setup sshd`: puts Cotter between sshd and PAM, or takes it out.

use super::exit::Failure;
use super::{Common, Exit, output};
use crate::setup::{self, Error, Report};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Have sshd and PAM ask the agent; whatever fails is put back
    ///
    /// Writes a snippet for sshd and switches on PAM's profile, checks what sshd makes of it for every Match block,
    /// tries a break-glass key in a login of its own, and only then reloads sshd. An AuthorizedPrincipalsFile that is
    /// there becomes the agent's principals_file; another AuthorizedPrincipalsCommand stops it. Users' authorized_keys
    /// go on to count unless told otherwise. The node must be in mode audit or off.
    Sshd(SshdOptions),
}

#[derive(Debug, clap::Args)]
struct SshdOptions {
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take Cotter out of sshd and PAM
    #[arg(long)]
    undo: bool,
    /// Of keys without certificate, let only those in /etc/cotter/break-glass.keys in
    #[arg(long, conflicts_with = "undo")]
    keys_only_break_glass: bool,
    /// The account that a break-glass key is tried with [default: root, or an administrator]
    #[arg(long, value_name = "LOGIN", conflicts_with = "undo")]
    account: Option<String>,
}

pub(super) fn setup(common: &Common, options: Options) -> Result<Exit, Failure> {
    let What::Sshd(options) = options.what;
    let SshdOptions { dry_run, undo, keys_only_break_glass, account } = options;
    let asked = setup::Options { config: common.config.clone(), dry_run, keys_only_break_glass, account };
    let report = if undo { setup::undo(&asked) } else { setup::set_up(&asked) };
    say(common, &report.map_err(failure)?);
    Ok(Exit::Done)
}

fn failure(error: Error) -> Failure {
    match error {
        error @ (Error::Stop(_) | Error::Config(_)) => Failure::usage(error),
        error @ (Error::Program { .. } | Error::NoBreakGlass { .. } | Error::Io(_)) => {
            Failure::unavailable(error)
        }
    }
}

fn say(common: &Common, report: &Report) {
    if common.json {
        output::json(report);
        return;
    }
    if !report.diff.is_empty() {
        output::lines(report.diff.trim_end());
    }
    for note in &report.notes {
        output::line(&format!("note: {note}"));
    }
}
