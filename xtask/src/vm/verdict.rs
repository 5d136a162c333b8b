//! What a guest has said: its lines as they come, and how it ended.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::cache;
use super::guest::{self, Guest, Order, Traces};

/// How long a guest may take to its first word; software on a busy machine takes a minute.
const BOOT: Duration = Duration::from_secs(300);
/// How long it may be silent between two words: the slowest test is one of a few minutes.
const SILENCE: Duration = Duration::from_secs(300);
/// How long it may take in all.
const WHOLE: Duration = Duration::from_secs(1500);
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
    let end = follow(&mut guest, name)?;
    let all_well = matches!(end, End::Exit(0));
    println!("xtask: Linux {}: {end} after {} s", order.kernel.release, start.elapsed().as_secs());
    if all_well && !keep {
        fs::remove_dir_all(&traces.directory).with_context(|| traces.directory.display().to_string())?;
    } else {
        println!("xtask: serial log, journal and results: {}", traces.directory.display());
    }
    Ok(all_well)
}

/// How a guest ended.
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

fn follow(guest: &mut Guest, name: &str) -> Result<End> {
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
            None if start.elapsed() > BOOT => return Ok(End::Late("it did not boot")),
            Some(last) if last.elapsed() > SILENCE => return Ok(End::Late("a test hangs")),
            _ if start.elapsed() > WHOLE => return Ok(End::Late("all of it takes too long")),
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
