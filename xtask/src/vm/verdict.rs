//! What a guest has said: its lines as they come, and how it ended.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::cache;
use super::guest::{self, Guest, Order, Traces};

/// How long a guest may take.
struct Patience {
    /// To its first word; software on a busy machine takes a minute.
    boot: Duration,
    /// Between two words: the slowest test is one of a few minutes.
    silence: Duration,
    /// In all.
    whole: Duration,
}

const PATIENCE: Patience = Patience {
    boot: Duration::from_secs(300),
    silence: Duration::from_secs(300),
    whole: Duration::from_secs(2400),
};
/// How long it may take to switch itself off.
const FAREWELL: Duration = Duration::from_secs(30);
/// The line with which the runner ends is this and its exit code.
const LAST_WORD: &str = "cotter-vm: exit ";

/// Boots the guest, shows what it says, and says whether all is well. Its traces are kept if not, or if told to.
pub(crate) fn of(order: &Order, keep: bool) -> Result<bool> {
    let name = order.kernel.series.name();
    let traces = Traces { directory: cache::directory().join("runs").join(name) };
    println!("xtask: Linux {} boots", order.kernel.release);
    let start = Instant::now();
    let mut guest = Guest::boot(order, &traces)?;
    let _peer = if order.peer { Some(guest::peer(order, &traces)?) } else { None };
    let end = follow(&mut guest, name, &PATIENCE)?;
    let all_well = matches!(end, End::Exit(0));
    if !matches!(end, End::Exit(_)) {
        let serial = fs::read(traces.serial()).unwrap_or_default();
        println!("{}", last_lines(&String::from_utf8_lossy(&serial)));
    }
    println!("xtask: Linux {}: {end} after {} s", order.kernel.release, start.elapsed().as_secs());
    if all_well && !keep {
        fs::remove_dir_all(&traces.directory).with_context(|| traces.directory.display().to_string())?;
    } else {
        println!("xtask: serial log, journal and results: {}", traces.directory.display());
    }
    Ok(all_well)
}

/// How a guest ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Its runner came to an end, with this code.
    Exit(u8),
    /// The machine was switched off, or panicked, without a word.
    Silently,
    /// It was not heard of for too long; what it did then.
    Late(&'static str),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(0) => write!(f, "all well"),
            Self::Exit(code) => write!(f, "failed (exit code {code})"),
            Self::Silently => write!(f, "ended without a verdict"),
            Self::Late(what) => write!(f, "time limit: {what}"),
        }
    }
}

/// What may tell why there is no verdict.
fn last_lines(serial: &str) -> String {
    let lines: Vec<_> = serial.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(20)..];
    last.iter().map(|line| format!("serial: {line}")).collect::<Vec<_>>().join("\n")
}

fn follow(guest: &mut Guest, name: &str, patience: &Patience) -> Result<End> {
    let start = Instant::now();
    let mut heard = None;
    loop {
        // Asked first: what it said before it was switched off is still to be read.
        let off = guest.is_off()?;
        let news = guest.news()?;
        for line in news.lines() {
            if let Some(code) = line.strip_prefix(LAST_WORD) {
                await_off(guest)?;
                return Ok(code.trim().parse().map_or(End::Silently, End::Exit));
            }
            println!("{name} {:4} s: {line}", start.elapsed().as_secs());
            heard = Some(Instant::now());
        }
        match heard {
            _ if off => return Ok(End::Silently),
            None if start.elapsed() > patience.boot => return Ok(End::Late("it did not boot")),
            Some(last) if last.elapsed() > patience.silence => return Ok(End::Late("a test hangs")),
            _ if start.elapsed() > patience.whole => return Ok(End::Late("all of it takes too long")),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Its disks are not whole before it is off; after a while it is switched off the hard way.
fn await_off(guest: &mut Guest) -> Result<()> {
    let start = Instant::now();
    while !guest.is_off()? && start.elapsed() < FAREWELL {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const LITTLE: Patience = Patience {
        boot: Duration::from_millis(300),
        silence: Duration::from_millis(600),
        whole: Duration::from_millis(1200),
    };

    /// How something that behaves like `script`, whose argument is the file of the runner's words, ends.
    fn end_of(script: &str) -> Result<End> {
        let words = tempfile::NamedTempFile::new()?;
        let mut shell = Command::new("sh");
        let machine = shell.args(["-c", script]).arg(words.path()).spawn()?;
        follow(&mut Guest::new(machine, words.reopen()?), "test", &LITTLE)
    }

    #[test]
    fn a_guest_that_never_says_a_word_is_late() -> Result<()> {
        assert_eq!(end_of("exec sleep 600")?, End::Late("it did not boot"));
        Ok(())
    }

    #[test]
    fn a_guest_that_falls_silent_is_late() -> Result<()> {
        assert_eq!(end_of("echo begins >$0; exec sleep 600")?, End::Late("a test hangs"));
        Ok(())
    }

    #[test]
    fn a_guest_that_goes_on_for_ever_is_late() -> Result<()> {
        let script = "while sleep 0.1; do echo and on >>$0; done";
        assert_eq!(end_of(script)?, End::Late("all of it takes too long"));
        Ok(())
    }

    #[test]
    fn a_guest_that_is_switched_off_without_a_verdict_has_ended_silently() -> Result<()> {
        assert_eq!(end_of("echo begins >$0")?, End::Silently);
        Ok(())
    }

    #[test]
    fn the_last_word_is_the_verdict() -> Result<()> {
        assert_eq!(end_of("echo cotter-vm: exit 0 >$0")?, End::Exit(0));
        assert_eq!(end_of("echo cotter-vm: exit 2 >$0")?, End::Exit(2));
        Ok(())
    }
}
