//! Everything that is measured, round by round.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::authority::AuthorityBench;
use crate::followers::FollowBench;
use crate::gates::GateBench;
use crate::locks::LockBench;
use crate::logins;
use crate::lookups::LookupBench;
use crate::node::Node;
use crate::packets::PacketBench;
use crate::receiving::Receiving;
use crate::relays::RelayBench;
use crate::row::Round;
use crate::sockets::SocketBench;

/// How often an output that is no terminal, such as a CI log, hears of the progress.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Measures everything so many times, taking turns: what disturbs the machine for a while disturbs all alike.
pub(crate) fn run(baseline: &Path, rounds: usize) -> Result<Vec<Round>> {
    println!(
        "bench: fills the kernel's maps with 100,000 sessions, sets up nodes, firewalls and two authorities"
    );
    // Read here: the labs have directories of their own in the place of many of the host's.
    let object = std::fs::read(baseline).with_context(|| baseline.display().to_string())?;
    let receiving = Receiving::count(&object).context("what counts the time of receiving")?;
    let packets = PacketBench::set_up(&object).context("packets")?;
    let gates = GateBench::set_up(&object).context("gates")?;
    let sockets = SocketBench::set_up(&object).context("sockets")?;
    let lookups = LookupBench::set_up(&object).context("large tables")?;
    let mut relays = RelayBench::set_up(&object).context("relays")?;
    let mut agent = Node::with_agent().context("node with the agent")?;
    let mut script = Node::with_script_instead(&agent).context("node with a script")?;
    let authority = AuthorityBench::set_up().context("authority")?;
    let locks = LockBench::set_up(&agent)?;
    let followers = FollowBench::set_up().context("node that follows an authority")?;
    // What is read for the first time takes longer: one round does not count.
    let mut measured = Vec::new();
    let mut progress = Progress::begin(rounds);
    for round in 0..=rounds {
        progress.show(round);
        let figures = Round {
            packets: packets.round(round).context("packets")?,
            gates: gates.round(&receiving).context("gates")?,
            sockets: sockets.round(&receiving).context("sockets")?,
            lookups: lookups.round().context("large tables")?,
            relays: relays.round().context("relays")?,
            logins: logins::round(round, &mut script, &mut agent).context("logins")?,
            authority: authority.round(round).context("authority")?,
            lock: locks.round(&agent).context("locks")?,
            followed: followers.round().context("locks at the authority")?,
        };
        if round > 0 {
            measured.push(figures);
        }
    }
    progress.end();
    Ok(measured)
}

struct Progress {
    rounds: usize,
    start: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    fn begin(rounds: usize) -> Self {
        Self { rounds, start: Instant::now(), shown: None, terminal: std::io::stdout().is_terminal() }
    }

    fn show(&mut self, round: usize) {
        let line = format!("bench: round {round} of {}, {} s", self.rounds, self.start.elapsed().as_secs());
        if self.terminal {
            print!("\r\x1b[K{line}");
            // A terminal that is gone is no reason to stop.
            let _ = std::io::stdout().flush();
        } else if self.shown.is_none_or(|shown| shown.elapsed() >= LOG_EVERY) {
            println!("{line}");
            self.shown = Some(Instant::now());
        }
    }

    fn end(&self) {
        if self.terminal {
            print!("\r\x1b[K");
        }
        println!("bench: {} rounds in {} s", self.rounds, self.start.elapsed().as_secs());
    }
}
