//! `ssh`: the system's OpenSSH, with the certificate; after a new login where the old one is of no use any more.
//!
//! ssh runs once, whatever comes of it: nobody can tell from outside whether one that failed had logged in, and a remote
//! command that ran must not run again. All that can be done about a refusal is done before.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Args;
use cotter_api::Family;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

use super::standing::Standing;
use super::{Context, Failure, renewal};
use crate::credential::{Unfit, families, short};
use crate::home::Drawer;
use crate::ssh_arguments::logs_in;

/// Set for the ssh that runs here: what its configuration asks of `cotter` was seen to.
pub(super) const CHECKED: &str = "COTTER_CHECKED";
/// How ssh ends if it could not connect or log in; its remote command may end so, too.
const FAILED: i32 = 255;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// What ssh takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "SSH ARGUMENTS")]
    pub(super) arguments: Vec<OsString>,
}

pub(super) async fn ssh(context: &Context, options: &Options) -> Result<ExitCode, Failure> {
    if !logs_in(&options.arguments) {
        return run(Command::new("ssh").args(&options.arguments)).await.map(exit);
    }
    let known = context.known()?;
    renewal::renew(context, known).await?;
    let mut ssh = Command::new("ssh");
    ssh.env(CHECKED, "1").args(identity(&context.drawer(known)?)).args(&options.arguments);
    let code = run(&mut ssh).await?;
    if code == FAILED {
        explain(&Standing::look(context, known).await?);
    }
    Ok(exit(code))
}

/// What ssh is to show.
fn identity(drawer: &Drawer) -> [OsString; 4] {
    let option = |name: &str, path: &Path| {
        let mut option = OsString::from(format!("{name}="));
        option.push(super::ssh_config::quoted(path));
        option
    };
    [
        "-o".into(),
        option("IdentityFile", &drawer.key()),
        "-o".into(),
        option("CertificateFile", &drawer.certificate()),
    ]
}

/// Runs ssh to its end, as if it had been started itself: what ends or stops this process is for it. Its exit code, as shells
/// have it.
async fn run(ssh: &mut Command) -> Result<i32, Failure> {
    let child = ssh.spawn().map_err(|error| Failure::usage(format!("ssh cannot be run: {error}")))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::usage("ssh cannot be followed"))?;
    let listen = |kind| signal(kind).map_err(Failure::unreachable);
    // Those that a terminal sends come to ssh, too.
    let (_interrupt, _quit) = (listen(SignalKind::interrupt())?, listen(SignalKind::quit())?);
    let _stop = listen(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let (mut terminate, mut hangup) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    let mut end = spawn_blocking(move || await_end(pid));
    loop {
        let signal = tokio::select! {
            code = &mut end => {
                let code = code.map_err(Failure::unreachable)?;
                return code.map_err(|error| Failure::usage(format!("ssh cannot be followed: {error}")));
            }
            _ = terminate.recv() => Signal::TERM,
            _ = hangup.recv() => Signal::HUP,
        };
        // It may have ended meanwhile.
        let _sent = kill_process(pid, signal);
    }
}

/// Waits for a child's end. While it is stopped (`~^Z` stops ssh alone), so is this process, or the shell would wait for ever.
fn await_end(pid: Pid) -> rustix::io::Result<i32> {
    loop {
        let status = match waitpid(Some(pid), WaitOptions::UNTRACED) {
            Ok(Some((_, status))) => status,
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        if status.stopped() {
            kill_process(rustix::process::getpid(), Signal::STOP)?;
            kill_process(pid, Signal::CONT)?;
        } else {
            return Ok(code(status));
        }
    }
}

fn code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(FAILED)
}

/// Says what may be behind a refusal: sshd does not.
fn explain(standing: &Standing) {
    let addresses = standing.addresses();
    let pins = standing.identity.as_ref().and_then(|identity| identity.pins.as_ref());
    match (&standing.unfit, pins) {
        (Some(unfit @ (Unfit::Moved { .. } | Unfit::Expired | Unfit::KeyGone | Unfit::Missing)), _) => {
            eprintln!("cotter: {unfit}, while ssh ran; run it again to log in again");
        }
        (_, None) => eprintln!(
            "cotter: if the node refused you: your certificate is pinned nowhere; if one of your roles asks for a pin by now, \
             log in again: cotter login"
        ),
        (_, Some(pins)) => {
            let seen = match &addresses[..] {
                [] => "does not know your address".to_owned(),
                seen => format!(
                    "sees you at {}",
                    seen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
                ),
            };
            let lacks = match families(pins)[..] {
                [Family::V4] => "; it has no pin for IPv6: try ssh -4",
                [Family::V6] => "; it has no pin for IPv4: try ssh -6",
                _ => "",
            };
            eprintln!(
                "cotter: if the node refused you, it may see you elsewhere than the authority, which {seen}; your certificate \
                 is pinned to {}{lacks}",
                short(pins)
            );
        }
    }
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
