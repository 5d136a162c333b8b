//! The proof that a break-glass key gets in: a real login, by ssh's client, to an sshd of its own with the new
//! configuration, over loopback, with a key that stands in the break-glass file for that moment.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::journal::{Desk, replace};
use super::snippet::BREAK_GLASS;
use super::{Error, sshd};
use crate::command;

/// The longest that a login may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the key would get in if it were left behind.
const LIFETIME: Duration = Duration::from_secs(300);
/// Names the key in the file.
const NAME: &str = "cotter-setup-proof";
/// What the login prints.
const WORD: &str = "cotter-break-glass-works";

/// Whether the break-glass file holds a key.
pub(super) fn has_key() -> bool {
    let text = fs::read_to_string(BREAK_GLASS).unwrap_or_default();
    text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}

/// Logs in to the first of the accounts that lets it; its name.
pub(super) fn prove(desk: &Desk, accounts: &[String]) -> Result<String, Error> {
    let directory = desk.directory().join("proof");
    discard(&directory)?;
    DirBuilder::new().mode(0o700).create(&directory)?;
    let before = fs::read_to_string(BREAK_GLASS)?;
    let key = directory.join("key");
    replace(Path::new(BREAK_GLASS), &with_line(&before, &authorized_line(&key)?))?;
    let proven = try_accounts(&directory, &key, accounts);
    // Somebody may have edited the file meanwhile.
    let now = fs::read_to_string(BREAK_GLASS)?;
    replace(Path::new(BREAK_GLASS), &without_ours(&now, &before))?;
    discard(&directory)?;
    proven
}

/// Makes a key pair; the line for its public half, which can do nothing but show that it got in.
fn authorized_line(key: &Path) -> Result<String, Error> {
    let made = command::program("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", NAME, "-f"])
        .arg(key)
        .output()?;
    if !made.status.success() {
        let what = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        return Err(Error::Program { program: "ssh-keygen", what });
    }
    let expiry = jiff::Timestamp::now() + LIFETIME;
    let public = fs::read_to_string(key.with_extension("pub"))?;
    Ok(format!(
        "restrict,from=\"127.0.0.1\",expiry-time=\"{}\",command=\"echo {WORD}\" {public}",
        expiry.strftime("%Y%m%d%H%M%SZ")
    ))
}

/// The file with a line more.
fn with_line(text: &str, line: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}{line}")
}

/// The file without our line; as it was before, byte for byte, if nothing else has changed.
fn without_ours(text: &str, before: &str) -> String {
    let kept: String = text.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(NAME)).collect();
    if kept.trim_end_matches('\n') == before.trim_end_matches('\n') { before.to_owned() } else { kept }
}

fn try_accounts(directory: &Path, key: &Path, accounts: &[String]) -> Result<String, Error> {
    let mut refusals = Vec::new();
    for account in accounts {
        match login(directory, key, account) {
            Ok(()) => return Ok(account.clone()),
            Err(error) => refusals.push(format!("{account}: {error}")),
        }
    }
    Err(Error::NoBreakGlass { refusals: refusals.join("\n") })
}

/// One login: the client connects to a socket of ours, and what comes in there is handed to an sshd of its own.
fn login(directory: &Path, key: &Path, account: &str) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut client = Reaped(client(key, account, listener.local_addr()?.port())?);
    let connection = accept(&listener, &mut client.0, deadline)?;
    let log = directory.join("sshd.log");
    let mut server = Reaped(server(connection, &log)?);
    let ended = wait(&mut client.0, deadline)?;
    let mut said = String::new();
    if let Some(stdout) = &mut client.0.stdout {
        stdout.read_to_string(&mut said)?;
    }
    if ended.is_some_and(|status| status.success()) && said.contains(WORD) {
        wait(&mut server.0, deadline)?;
        return Ok(());
    }
    let mut complaint = String::new();
    if let Some(stderr) = &mut client.0.stderr {
        stderr.read_to_string(&mut complaint)?;
    }
    complaint.push_str(&fs::read_to_string(log).unwrap_or_default());
    Err(io::Error::other(complaint.trim().to_owned()))
}

fn client(key: &Path, account: &str, port: u16) -> io::Result<Child> {
    let mut ssh = command::program("ssh");
    ssh.args([
        "-F",
        "none",
        "-T",
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "IdentityAgent=none",
    ])
    .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"])
    .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "PreferredAuthentications=publickey"])
    .args(["-p", &port.to_string(), "-l", account, "-i"])
    .arg(key)
    .arg("127.0.0.1");
    ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

fn server(connection: TcpStream, log: &Path) -> io::Result<Child> {
    let socket = OwnedFd::from(connection);
    let mut server = command::program(sshd::SSHD);
    server.args(["-i", "-e", "-f", sshd::CONFIG]);
    server.stdin(socket.try_clone()?).stdout(socket).stderr(File::create(log)?).spawn()
}

/// The client's connection; an error if it ends without one.
fn accept(listener: &TcpListener, client: &mut Child, deadline: Instant) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(false)?;
                return Ok(connection);
            }
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Err(_) if client.try_wait()?.is_some() || Instant::now() > deadline => {
                return Err(io::Error::other("ssh did not connect"));
            }
            Err(_) => sleep(Duration::from_millis(10)),
        }
    }
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        match child.try_wait()? {
            None if Instant::now() < deadline => sleep(Duration::from_millis(10)),
            ended => return Ok(ended),
        }
    }
}

fn discard(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A process that does not outlive the proof.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Errors here mean that it has ended already.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proofs_line_leaves_no_trace_and_takes_nothing_else_away() {
        let ours = format!("restrict ssh-ed25519 AAAA {NAME}\n");
        for before in ["ssh-ed25519 BBBB emergency", "ssh-ed25519 BBBB emergency\n\n", "# none\n"] {
            assert_eq!(without_ours(&with_line(before, &ours), before), before);
        }
        let edited = format!("{}ssh-ed25519 CCCC added\n", with_line("one\n", &ours));
        assert_eq!(without_ours(&edited, "one\n"), "one\nssh-ed25519 CCCC added\n");
    }
}
