//! Packets seen on a wire.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};

use crate::place::Place;
use crate::process::Process;

/// A running `tcpdump` that counts.
#[derive(Debug)]
pub struct Capture {
    child: Process,
    packets: Arc<AtomicU64>,
}

impl Capture {
    /// Counts the packets that leave `place` by `device` and fit tcpdump's `filter`, from the return of this call on.
    pub fn of_sent(place: &Place, device: &str, filter: &str) -> Result<Self> {
        let mut command = Place::command("tcpdump");
        command.args([
            "-i",
            device,
            "-Q",
            "out",
            "-nn",
            "-q",
            "-l",
            "-Z",
            "root",
            "--immediate-mode",
            filter,
        ]);
        let child = place.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        let mut capture = Self { packets: Arc::default(), child };
        capture.await_listening()?;
        let lines = BufReader::new(capture.child.stdout.take().context("tcpdump without output")?).lines();
        let packets = Arc::clone(&capture.packets);
        std::thread::spawn(move || {
            for _ in lines.map_while(Result::ok) {
                packets.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(capture)
    }

    /// Packets seen so far.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    fn await_listening(&mut self) -> Result<()> {
        let stderr = self.child.stderr.take().context("tcpdump without complaints")?;
        let mut said = String::new();
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            if line.starts_with("listening on") {
                return Ok(());
            }
            said.push_str(&line);
        }
        bail!("tcpdump: {said}")
    }
}
