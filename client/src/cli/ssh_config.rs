//! `ssh-config`: what gives plain ssh, and so scp, rsync, git and Ansible, the same.

use std::process::ExitCode;

use super::Failure;
use crate::home::Home;

pub(super) fn ssh_config(home: &Home) -> Result<ExitCode, Failure> {
    let program = std::env::current_exe().map_err(Failure::usage)?;
    println!("# Hosts whose sessions are pinned: put their names in place of the asterisk.");
    println!(
        "Match host * exec \"\\\"{}\\\" status >/dev/null || \\\"{0}\\\" login >/dev/tty </dev/tty\"",
        program.display()
    );
    println!("    IdentityFile \"{}\"", home.key().display());
    println!("    CertificateFile \"{}\"", home.certificate().display());
    Ok(ExitCode::SUCCESS)
}
