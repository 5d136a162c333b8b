//! `ssh`: the system's OpenSSH, with the certificate; after a new login where the old one is of no use any more.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use clap::Args;
use cotter_api::Observation;

use super::{Failure, login, status};
use crate::home::{Home, Known};

/// How ssh ends if it could not connect or log in; its remote command may end so, too.
const FAILED: i32 = 255;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// What ssh takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "SSH ARGUMENTS")]
    arguments: Vec<OsString>,
}

pub(super) async fn ssh(home: &Home, options: &Options) -> Result<ExitCode, Failure> {
    let Some(known) = home.known().map_err(Failure::refused)? else {
        return Err(Failure::refused("you are not logged in: cotter login --authority URL"));
    };
    let again = renew(home, &known).await?;
    let code = run(home, &options.arguments)?;
    if code != FAILED {
        return Ok(exit(code));
    }
    // The address may have changed meanwhile. One login a command: who is refused after it is told why, and not asked for
    // ever.
    if !again && renew(home, &known).await? {
        return run(home, &options.arguments).map(exit);
    }
    explain(home, &known).await?;
    Ok(exit(code))
}

/// Logs in again if the certificate is of no use here and now; true if it did.
async fn renew(home: &Home, known: &Known) -> Result<bool, Failure> {
    let Some(unfit) = status::standing(home, known).await?.unfit else { return Ok(false) };
    eprintln!("cotter: {unfit}; logging in again");
    login::log_in(home, known, false).await?;
    Ok(true)
}

fn run(home: &Home, arguments: &[OsString]) -> Result<i32, Failure> {
    let mut ssh = Command::new("ssh");
    let option = |name: &str, value: &std::path::Path| {
        let mut option = OsString::from(format!("{name}=\""));
        option.push(value);
        option.push("\"");
        option
    };
    ssh.arg("-o").arg(option("IdentityFile", &home.key()));
    ssh.arg("-o").arg(option("CertificateFile", &home.certificate())).args(arguments);
    let status = ssh.status().map_err(|error| Failure::usage(format!("ssh cannot be run: {error}")))?;
    Ok(status.code().unwrap_or(FAILED))
}

/// Says what may be behind a refusal: sshd does not.
async fn explain(home: &Home, known: &Known) -> Result<(), Failure> {
    let standing = status::standing(home, known).await?;
    let pinned = standing.identity.and_then(|identity| identity.pins);
    let (Some(pinned), Ok(Observation { address: Some(address), .. })) = (pinned, standing.seen) else {
        return Ok(());
    };
    eprintln!(
        "cotter: if the node refused you: your certificate is pinned to {pinned}, and the authority sees you at {address}; \
         perhaps the node sees you at another address"
    );
    Ok(())
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
