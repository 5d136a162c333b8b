//! Lines on their way out: a thread of their own writes them, so that a journal or disk that hangs hangs nobody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines that may wait; beyond, they are lost and counted.
const WAITING: usize = 4096;
/// How long the end waits for what was handed over.
const PATIENCE: Duration = Duration::from_secs(2);

/// A queue of lines and the thread that empties it.
#[derive(Debug)]
pub struct Queue {
    lines: Option<SyncSender<String>>,
    written: Mutex<Receiver<()>>,
    lost: AtomicU64,
}

impl Queue {
    /// A queue whose lines are written by `write`, in order, on a thread of this name.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn new(name: &str, mut write: impl FnMut(&str) + Send + 'static) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let (done, written) = channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            for line in waiting {
                write(&line);
            }
            // Whoever waited may have lost its patience.
            let _nobody = done.send(());
        })?;
        Ok(Self { lines: Some(lines), written: Mutex::new(written), lost: AtomicU64::new(0) })
    }

    /// Hands over one line; never waits.
    pub fn push(&self, line: &str) {
        let sent = self.lines.as_ref().is_some_and(|lines| lines.try_send(line.to_owned()).is_ok());
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were lost since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Queue {
    /// Waits a moment until what was handed over is written.
    fn drop(&mut self) {
        self.lines = None;
        let written = self.written.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _late = written.recv_timeout(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_was_handed_over_is_written_in_order_before_the_end() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&written);
        let queue = Queue::new("test", move |line| sink.lock().unwrap().push(line.to_owned())).unwrap();
        (0..1000).for_each(|number| queue.push(&number.to_string()));
        drop(queue);
        let expected: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        assert_eq!(*written.lock().unwrap(), expected);
    }

    #[test]
    fn a_sink_that_hangs_hangs_nobody_and_what_is_lost_is_counted() {
        let (release, gate) = channel::<()>();
        let queue = Queue::new("test", move |_| gate.recv().unwrap_or_default()).unwrap();
        (0..2 * WAITING).for_each(|_| queue.push("line"));
        assert!(queue.take_lost() >= WAITING as u64 - 1);
        drop(release);
    }
}
