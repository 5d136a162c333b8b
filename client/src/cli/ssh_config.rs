//! `ssh-config`: what gives plain ssh, and so scp, rsync, git and Ansible, the same.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::{Context, Failure};

/// What logs in again.
const LOGIN: &str = "login --if-needed";
/// What knocks; ssh puts in the name and the port as it was given them.
const KNOCK: &str = "knock --if-needed --port %p -- '%n'";
/// A shell would take the quote for the end of the name: ssh before 9.6 lets names have some.
const NO_QUOTES: &str = "originalhost \"*,!*'*\"";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The hosts whose sessions are pinned, as patterns of ssh_config; every host if left out
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
}

pub(super) fn ssh_config(context: &Context, options: &Options) -> Result<ExitCode, Failure> {
    let place = context.place()?;
    let drawer = context.home.drawer(place)?;
    let program = std::env::current_exe().map_err(Failure::usage)?;
    let hosts = hosts(&options.hosts).map_err(Failure::usage)?;
    let login = exec(&program, &place.to_string(), LOGIN).map_err(Failure::usage)?;
    let show = |path: &Path| quoted(path).to_string_lossy().into_owned();
    println!("# Logs in at {place} again where the certificate is of no use any more: asks at the terminal,");
    println!(
        "# and without one says what to do. A HostName line above changes the name that counts here: best stand first."
    );
    if options.hosts.is_empty() {
        println!("# Name the hosts, else all are asked for: cotter ssh-config 'node*.example.com'");
    }
    println!("Match host {hosts} exec {login}");
    println!("    IdentityFile {}", show(&drawer.key()));
    println!("    CertificateFile {}", show(&drawer.certificate()));
    if !context.nodes.is_empty() {
        let exec = exec(&program, &place.to_string(), KNOCK).map_err(Failure::usage)?;
        println!(
            "# Knocks at nodes whose entries in client.toml say so. Nothing that belongs to this stands below it."
        );
        println!("Match {NO_QUOTES} host {hosts} exec {exec}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Patterns of ssh_config as `Match host` takes them.
fn hosts(patterns: &[String]) -> Result<String, String> {
    if patterns.is_empty() {
        return Ok("*".to_owned());
    }
    let wrong = |pattern: &&String| {
        pattern.is_empty()
            || pattern.contains(|c: char| c.is_whitespace() || c.is_control() || "\"'#\\".contains(c))
    };
    match patterns.iter().find(wrong) {
        Some(pattern) => Err(format!("{pattern:?} is no pattern of ssh_config")),
        None => Ok(patterns.join(",")),
    }
}

/// The command that ssh has a shell run, in the quotes of `Match exec`. OpenSSH before 10 knows no escape between them, so
/// that the shell's quotes must be the other ones, and no quote can be in the path.
fn exec(program: &Path, place: &str, what: &str) -> Result<String, String> {
    let path =
        program.to_str().filter(|path| !path.contains(|c: char| c.is_control() || "\"'\\".contains(c)));
    let path = path.ok_or_else(|| {
        format!(
            "{}: ssh_config cannot run what has quotes in its path; put cotter elsewhere",
            program.display()
        )
    })?;
    let place = place.replace('%', "%%");
    Ok(format!("\"'{}' --authority '{place}' {what}\"", path.replace('%', "%%")))
}

/// A path as the value of an option of ssh: in quotes, with what means something there escaped.
pub(super) fn quoted(path: &Path) -> OsString {
    let mut quoted = vec![b'"'];
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend([b'\\', byte]),
            b'%' => quoted.extend(b"%%"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_ssh_is_quoted() {
        let quoted = |path: &str| quoted(Path::new(path)).into_string().unwrap();
        assert_eq!(quoted("/home/a b/id"), r#""/home/a b/id""#);
        assert_eq!(quoted(r#"/home/"%\/id"#), r#""/home/\"%%\\/id""#);
        let exec = |path| super::exec(Path::new(path), "https://a:8443", LOGIN);
        assert_eq!(
            exec("/opt/a b/50%/cotter").as_deref(),
            Ok("\"'/opt/a b/50%%/cotter' --authority 'https://a:8443' login --if-needed\"")
        );
        assert!(exec("/opt/it's/cotter").is_err());
    }

    #[test]
    fn hosts_are_joined_and_what_is_no_pattern_is_told() {
        let hosts =
            |patterns: &[&str]| super::hosts(&patterns.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(hosts(&[]).as_deref(), Ok("*"));
        assert_eq!(hosts(&["node*", "!nodeX"]).as_deref(), Ok("node*,!nodeX"));
        assert!(hosts(&["a b"]).is_err());
        assert!(hosts(&["a\nHost *"]).is_err());
    }
}
