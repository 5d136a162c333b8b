//! Asking people: at their terminal, whatever standard input is, and nowhere else.
//!
//! As ssh does, since its standard input may be on its way to the node. But only where standard input or error is a terminal
//! too: a job without either has nobody who would see the question, though the shell that started it may have a terminal.

use std::fs::File;
use std::future::Future;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};

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
    #[error("interrupted")]
    Interrupted,
    /// The terminal fails.
    #[error("the terminal cannot be read: {0}")]
    Failed(#[from] io::Error),
}

/// Whether somebody can be asked.
pub fn is_there() -> bool {
    (io::stdin().is_terminal() || io::stderr().is_terminal()) && File::open(PATH).is_ok()
}

/// Asks for one line.
///
/// # Errors
/// See [`AskError`].
pub async fn ask(question: String) -> Result<String, AskError> {
    at_terminal(move || {
        let mut terminal = File::options().read(true).write(true).open(PATH)?;
        terminal.write_all(question.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(terminal.take(LONGEST)).read_line(&mut answer)?;
        if answer.is_empty() {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(answer.trim().to_owned())
        }
    })
    .await
}

/// Asks for what nobody is to see.
///
/// # Errors
/// See [`AskError`].
pub async fn ask_secret(question: String) -> Result<String, AskError> {
    at_terminal(move || rpassword::prompt_password(question)).await
}

/// Waits for an answer; other work goes on.
async fn at_terminal(
    question: impl FnOnce() -> io::Result<String> + Send + 'static,
) -> Result<String, AskError> {
    if !is_there() {
        return Err(AskError::NoTerminal);
    }
    // With a handler in place an interrupt gives the terminal back as it was, instead of ending the process.
    let _interrupts = signal(SignalKind::interrupt())?;
    match spawn_blocking(question).await.map_err(io::Error::other)? {
        Ok(answer) => Ok(answer),
        Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof) => {
            Err(AskError::Interrupted)
        }
        Err(error) => Err(error.into()),
    }
}

/// Does something, unless an interrupt comes before it is done: after a question none ends the process by itself.
///
/// # Errors
/// [`AskError::Interrupted`].
pub async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Result<T, AskError> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = work => Ok(done),
        _ = interrupts.recv() => Err(AskError::Interrupted),
    }
}
