//! `check-cert`: the login check, offline, by the very code that decides at a login.

use super::exit::Failure;
use super::{Common, Exit, output};
use crate::config;
use crate::login::principals_file;
use pinning::{Login, Observed, Verdict};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The certificate, such as ~/.ssh/id_ed25519-cert.pub
    file: PathBuf,
    /// The account on the node
    #[arg(long)]
    login: String,
    /// The address the login comes from
    #[arg(long, value_name = "IP")]
    from: IpAddr,
}

pub(super) fn check_cert(common: &Common, options: &Options) -> Result<Exit, Failure> {
    let config = config::load(&common.config).map_err(Failure::usage)?;
    let certificate = std::fs::read(&options.file)
        .map_err(|error| Failure::usage(format!("{}: {error}", options.file.display())))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::unavailable)?.as_secs();
    let judgement = config.policy.judge(&Login {
        certificate: &String::from_utf8_lossy(&certificate),
        login: &options.login,
        observed: Some(Observed::direct(options.from)),
        now,
        locks: &[],
        principals_file: &principals_file,
    });
    if common.json {
        output::json(&judgement.to_json());
    } else {
        output::line(&sentence(&judgement));
    }
    Ok(match judgement.verdict {
        Verdict::Allow => Exit::Done,
        Verdict::Deny(_) => Exit::Denied,
    })
}

fn sentence(judgement: &pinning::Judgement) -> String {
    match judgement.verdict {
        Verdict::Allow => format!("allow: roles {}", judgement.roles.join(", ")),
        Verdict::Deny(reason) => format!("deny: {reason}: {}. {}", judgement.detail, reason.explain()),
    }
}
