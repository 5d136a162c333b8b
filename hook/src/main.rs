//! `cotter-hook`: what sshd (AuthorizedPrincipalsCommand) and PAM (`pam_exec`) run at a login.

mod arguments;
mod ending;
mod environment;
mod pam;
mod principals;

use std::process::ExitCode;

use arguments::{Command, HELP};
use cotter_hook::syslog::Syslog;

fn main() -> ExitCode {
    match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Principals { asked, node }) => principals::run(&asked, &node),
        Ok(Command::Pam { node }) => pam::run(&node),
        Ok(Command::EndConnection(target)) => ending::run(&target),
        Ok(Command::Help) => print(HELP),
        Ok(Command::Version) => print(concat!("cotter-hook ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(error) => {
            print_error(&format!("cotter-hook: {error}; see cotter-hook --help\n"));
            ExitCode::from(2)
        }
    }
}

/// Writes to standard output, in one piece if it can be. A reader that is gone is no failure of ours.
fn print(text: impl AsRef<[u8]>) -> ExitCode {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_ref()).and_then(|()| stdout.flush());
    ExitCode::SUCCESS
}

fn print_error(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(text.as_bytes());
}
