//! `ssh`: the system's OpenSSH, with the certificate; after a new login where the old one is of no use any more.
//!
//! ssh runs once, whatever comes of it: nobody can tell from outside whether one that failed had logged in, and a remote
//! command that ran must not run again. All that can be done about a refusal is done before.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Args;
use cotter_api::Family;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::knock::on_the_way;
use super::ssh_config::quoted;
use super::standing::Standing;
use super::{Context, Failure, renewal};
use crate::credential::{Unfit, families, short};
use crate::ending::{Ended, Endings};
use crate::home::{self, Drawer};
use crate::knock::{self, Destination, DestinationError};
use crate::known::Known;
use crate::ssh_arguments::Asked;
use crate::terminal::tell;

/// Set to the authority for the ssh that runs here: what its configuration asks of `cotter` was seen to.
pub(super) const CHECKED: &str = "COTTER_CHECKED";
/// How ssh ends if it could not connect or log in; its remote command may end so, too.
const FAILED: i32 = 255;
/// A person's own keys, in the order in which ssh tries them.
const OWN_KEYS: [&str; 5] = ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"];
/// Longest wait for what may be behind that.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// What ssh takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "SSH ARGUMENTS")]
    pub(super) arguments: Vec<OsString>,
}

pub(super) async fn ssh(context: &Context, options: &Options) -> Result<ExitCode, Failure> {
    let asked = Asked::of(&options.arguments);
    if !asked.logs_in {
        return run(Command::new("ssh").args(&options.arguments)).await.map(|end| exit(end.code));
    }
    let known = context.known()?;
    let was_asked = renewal::renew(context, &known).await?;
    let drawer = context.drawer(&known)?;
    let mut ssh = Command::new("ssh");
    ssh.env(CHECKED, known.authority.to_string());
    let way = way(context, &known, &asked, options.arguments.clone());
    let Way { jumps, family } = if was_asked {
        Endings::listen().map_err(Failure::unreachable)?.unless(way).await??
    } else {
        way.await?
    };
    ssh.args(family.iter().flat_map(|family| ["-o", address_family(*family)]));
    match drawer.ssh_config() {
        path if jumps && !asked.names_configuration && is_plain(&path) => {
            write_configuration(&drawer, &path)?;
            ssh.arg("-F").arg(path);
        }
        path => {
            if jumps && !asked.names_configuration {
                let why = "the name of this directory holds what a shell, by which ssh starts itself for them, reads otherwise";
                tell(format!("jump hosts are not shown your certificate: {}: {why}", path.display()));
            }
            ssh.args(identity(&drawer).into_iter().flat_map(|option| ["-o".into(), option]));
        }
    }
    let end = run(ssh.args(&options.arguments)).await?;
    if end.code == FAILED && !end.by_signal {
        let look = timeout(PATIENCE, Standing::look(context, &known));
        // Whoever interrupts it has no need of an explanation.
        let looked = Endings::listen().map_err(Failure::unreachable)?.unless(look).await;
        looked.into_iter().flatten().flatten().for_each(|standing| explain(&standing, jumps));
    }
    Ok(exit(end.code))
}

/// What ssh is to show.
fn identity(drawer: &Drawer) -> [OsString; 2] {
    let option = |name: &str, path: &Path| {
        let mut option = OsString::from(format!("{name}="));
        option.push(quoted(path));
        option
    };
    [option("IdentityFile", &drawer.key()), option("CertificateFile", &drawer.certificate())]
}

/// How ssh is to go.
#[derive(Default)]
struct Way {
    /// By way of other hosts.
    jumps: bool,
    /// Over this family of addresses alone.
    family: Option<Family>,
}

/// Where ssh will go, with the door open that is on the way.
async fn way(
    context: &Context,
    known: &Known,
    asked: &Asked,
    arguments: Vec<OsString>,
) -> Result<Way, Failure> {
    let destination = match Destination::ask(arguments).await {
        // It will say so itself.
        Err(DestinationError::Unknown(_)) => return Ok(Way::default()),
        asked => asked?,
    };
    let jumps = matches!(destination.way, knock::Way::Jump(_));
    // By a configuration of one's own, a host on the way is another one than ssh says here.
    if jumps && asked.names_configuration {
        return Ok(Way { jumps, family: None });
    }
    Ok(Way { jumps, family: on_the_way(context, known, destination).await? })
}

fn address_family(family: Family) -> &'static str {
    match family {
        Family::V4 => "AddressFamily=inet",
        Family::V6 => "AddressFamily=inet6",
    }
}

/// Whether ssh, a shell and ssh's `%` leave a path as it is.
fn is_plain(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._:@+-".contains(byte))
}

/// What ssh hands on to the one that it starts for each host on the way, as it does not do with options of its command line:
/// a configuration with what is to be shown, then all that would have counted without it, and the keys that ssh tries by itself
/// only where none is named.
fn write_configuration(drawer: &Drawer, path: &Path) -> Result<(), Failure> {
    let lines = identity(drawer).map(|option| option.to_string_lossy().replacen('=', " ", 1));
    let mut text = format!("{}\nInclude ~/.ssh/config\nInclude /etc/ssh/ssh_config\n", lines.join("\n"));
    let keys = std::env::home_dir().unwrap_or_default().join(".ssh");
    for name in OWN_KEYS.into_iter().filter(|name| keys.join(name).exists()) {
        text.push_str(&format!("IdentityFile ~/.ssh/{name}\n"));
    }
    if home::read(path)?.as_ref() != Some(&text) {
        home::write(path, &text)?;
    }
    Ok(())
}

/// How ssh ended.
struct End {
    /// As shells have it.
    code: i32,
    /// Somebody wanted it to end.
    by_signal: bool,
}

fn not_run(error: std::io::Error) -> Failure {
    Failure::usage(format!("ssh cannot be run: {error}"))
}

/// Runs ssh to its end, as if it had been started itself: what ends or stops this process is for it.
async fn run(ssh: &mut Command) -> Result<End, Failure> {
    let child = ssh.spawn().map_err(not_run)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::usage("ssh cannot be followed"))?;
    // Not before it has started: what is ignored here, as below nohup, is ignored there.
    let mut endings = Endings::listen().map_err(Failure::unreachable)?;
    let _stops = signal(SignalKind::from_raw(Signal::TSTP.as_raw())).map_err(Failure::unreachable)?;
    let mut end = spawn_blocking(move || await_end(pid));
    let mut by_signal = false;
    loop {
        let Ended { signal } = tokio::select! {
            // A signal that has ended ssh was there before its end.
            biased;
            ended = endings.next() => ended,
            code = &mut end => {
                let code = code.map_err(Failure::unreachable)?;
                let code = code.map_err(|error| Failure::usage(format!("ssh cannot be followed: {error}")))?;
                return Ok(End { code, by_signal });
            }
        };
        by_signal = true;
        // Those that a terminal sends come to ssh, too.
        if let Some(signal) = [Signal::TERM, Signal::HUP].into_iter().find(|own| own.as_raw() == signal) {
            // It may have ended meanwhile.
            let _sent = kill_process(pid, signal);
        }
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
fn explain(standing: &Standing, jumps: bool) {
    let pins = standing.identity.as_ref().and_then(|identity| identity.pins.as_ref());
    match (&standing.unfit, pins) {
        (Some(Unfit::Unknown { .. }), Some(pins)) | (None, Some(pins)) => {
            let lacks = match families(pins)[..] {
                [Family::V4] => "; it has no pin for IPv6: try ssh -4",
                [Family::V6] => "; it has no pin for IPv4: try ssh -6",
                _ => "",
            };
            let way = if jumps { "; behind a jump host, nodes see that host's address" } else { "" };
            tell(format!(
                "if the node refused you, it may see you elsewhere than the authority, which {}; your certificate is pinned \
                 to {}{lacks}{way}",
                sees(standing),
                short(pins)
            ));
        }
        (Some(Unfit::Unknown { .. }) | None, None) => tell(
            "if the node refused you: your certificate is pinned nowhere; if one of your roles asks for a pin by now, log in \
             again: cotter login",
        ),
        (Some(unfit), _) => tell(format!("{unfit}, while ssh ran; run it again to log in again")),
    }
}

/// What the authority knows of where we are.
fn sees(standing: &Standing) -> String {
    match (&standing.seen, &standing.addresses()[..]) {
        (Err(_), _) => "cannot be asked now".to_owned(),
        (Ok(_), []) => "does not know your address".to_owned(),
        (Ok(_), seen) => {
            let seen: Vec<String> = seen.iter().map(ToString::to_string).collect();
            format!("sees you at {}", seen.join(" and "))
        }
    }
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
