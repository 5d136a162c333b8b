//! Asking people: at their terminal, whatever standard input is, and nowhere else.
//!
//! As ssh does, since its standard input may be on its way to the node. But only in the foreground: a job behind it, or one
//! without a terminal, has nobody who would see the question.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};

use cotter_api::plain;
use rustix::process::{Signal, getpgrp, getpid, getppid, getsid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

const PATH: &str = "/dev/tty";
/// Longest answer, in bytes.
const LONGEST: u64 = 4096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("there is no terminal to ask at")]
    NoTerminal,
    /// Whoever is there does not want to.
    #[error("no answer")]
    Declined,
    /// The terminal fails.
    #[error("the terminal cannot be read: {0}")]
    Failed(#[from] io::Error),
}

/// Whether somebody can be asked.
pub fn is_there() -> bool {
    let in_front = |terminal: File| tcgetpgrp(&terminal).is_ok_and(|front| front == getpgrp());
    File::open(PATH).is_ok_and(in_front)
}

/// Tells people something, on standard error: words of others among it do not steer the terminal.
pub fn tell(what: impl ToString) {
    // A terminal may be gone, which is no reason to end otherwise.
    let _untold = writeln!(io::stderr(), "cotter: {}", lines(&what.to_string()));
}

/// Tells it where questions are asked, too, if standard error goes elsewhere: whoever is asked then knows why.
pub fn tell_before_asking(what: impl ToString) {
    let what = what.to_string();
    tell(&what);
    if !io::stderr().is_terminal()
        && let Ok(mut terminal) = File::options().write(true).open(PATH)
    {
        // The question stands for itself.
        let _untold = writeln!(terminal, "cotter: {}", lines(&what));
    }
}

/// Each line plain by itself.
fn lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// Asks for one line.
///
/// # Errors
/// See [`AskError`].
pub async fn ask(question: String) -> Result<String, AskError> {
    let mut terminal = open()?;
    terminal.write_all(question.as_bytes())?;
    Ok(line(terminal).await?.trim().to_owned())
}

/// Asks for what nobody is to see. Dropped before there is an answer, it leaves the terminal as it was.
///
/// # Errors
/// See [`AskError`].
pub async fn ask_secret(question: String) -> Result<String, AskError> {
    let mut terminal = open()?;
    let mut stops = signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut answer = std::pin::pin!(line(terminal.try_clone()?));
    loop {
        let hidden = Hidden::on(terminal.try_clone()?)?;
        terminal.write_all(question.as_bytes())?;
        tokio::select! {
            answer = answer.as_mut() => return answer,
            _ = stops.recv() => {
                if is_below_a_shell() {
                    // It gets its terminal back as it was; who goes on is asked again.
                    drop(hidden);
                    kill_process(getpid(), Signal::STOP).map_err(io::Error::from)?;
                }
            }
        }
    }
}

/// Whether somebody above could have this process go on once it is stopped: the kernel keeps processes from being stopped by
/// keys where there is nobody (POSIX, orphaned process groups).
fn is_below_a_shell() -> bool {
    let session = getsid(None).ok();
    session.is_some()
        && session != Some(getpgrp())
        && getppid().is_some_and(|parent| getsid(Some(parent)).ok() == session)
}

fn open() -> Result<File, AskError> {
    if !is_there() {
        return Err(AskError::NoTerminal);
    }
    Ok(File::options().read(true).write(true).open(PATH)?)
}

/// What is typed until the line's end, without it; other work goes on meanwhile.
async fn line(terminal: File) -> Result<String, AskError> {
    let read = move || {
        let mut line = String::new();
        BufReader::new(terminal.take(LONGEST)).read_line(&mut line).map(|_| line)
    };
    let line = spawn_blocking(read).await.map_err(io::Error::other)??;
    if line.is_empty() { Err(AskError::Declined) } else { Ok(line.trim_end_matches(['\r', '\n']).to_owned()) }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn on(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        // What was typed before was seen.
        tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _gone = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        // The one that ended the answer was not shown.
        let _gone = self.terminal.write_all(b"\n");
    }
}
