//! A step that may take its time: what it does is said before, what it prints is kept for the case that it fails, and
//! on the way its last line shows that it moves.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often an output that is no terminal, such as a CI log, hears of a step that goes on.
const LOG_EVERY: Duration = Duration::from_secs(15);

/// Runs `command`, saying `what` it does, and returns what it printed on both outputs, or an error that holds it.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<String> {
    println!("xtask: {what}");
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let (sender, lines) = channel();
    for output in [child.stdout.take().map(boxed), child.stderr.take().map(boxed)].into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || forward(output, &sender));
    }
    drop(sender);
    let printed = watch(&lines, start);
    let status = child.wait()?;
    if !status.success() {
        bail!("{what}: {status}\n{printed}");
    }
    if start.elapsed() > Duration::from_secs(2) {
        println!("xtask:   done in {} s", start.elapsed().as_secs());
    }
    Ok(printed)
}

fn boxed(output: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(output)
}

fn forward(output: Box<dyn Read + Send>, lines: &Sender<String>) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
            return;
        }
    }
}

/// Collects the lines until both outputs are closed, and shows the last one beside the time gone by.
fn watch(lines: &Receiver<String>, start: Instant) -> String {
    let terminal = std::io::stdout().is_terminal();
    let pause = if terminal { Duration::from_millis(500) } else { LOG_EVERY };
    let (mut printed, mut last) = (String::new(), String::new());
    let mut shown = Instant::now();
    loop {
        match lines.recv_timeout(pause.saturating_sub(shown.elapsed())) {
            Ok(line) => {
                printed.push_str(&line);
                printed.push('\n');
                last = line;
            }
            Err(RecvTimeoutError::Timeout) => {
                show(terminal, start.elapsed(), &last);
                shown = Instant::now();
            }
            Err(RecvTimeoutError::Disconnected) => {
                clear(terminal);
                return printed;
            }
        }
    }
}

fn show(terminal: bool, elapsed: Duration, last: &str) {
    // Long enough to tell what goes on, short enough for one line of any terminal.
    let line: String = last.trim().chars().take(60).collect();
    let seconds = elapsed.as_secs();
    if terminal {
        print!("\r\x1b[K  {seconds:3} s  {line}");
        // A terminal that is gone is no reason to stop.
        let _ = std::io::stdout().flush();
    } else {
        println!("xtask:   {seconds} s: {line}");
    }
}

fn clear(terminal: bool) {
    if terminal {
        print!("\r\x1b[K");
        let _ = std::io::stdout().flush();
    }
}
