//! What the process of a relayed connection tells the agent of it, for as long as there is one.

use super::agent::ask;
use super::call::{Announcement, Answer, Call};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the agent may take to answer. Without it nobody gets in but by a break-glass key, as at any login.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often an agent that is not there is looked for, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Room for the thread that tells agents.
const STACK: usize = 128 << 10;

/// An announcement, and who is to hear it.
pub(super) struct Announced {
    call: Call,
    runtime_dir: PathBuf,
    /// Ends with the agent that has heard it.
    heard: Option<UnixStream>,
}

impl Announced {
    /// Tells the agent; what it says, or nothing if it is not there.
    pub(super) fn tell(announcement: Announcement, runtime_dir: &Path) -> (Self, Option<Answer>) {
        let call = Call::Announce(announcement);
        let mut announced = Self { call, runtime_dir: runtime_dir.to_owned(), heard: None };
        let answer = announced.tell_agent().ok();
        (announced, answer)
    }

    /// Tells each agent that comes after this one, as long as the process lives. On a thread of its own: the connection waits
    /// for no agent.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub(super) fn tell_others(mut self) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("announcement".to_owned()).stack_size(STACK);
        thread.spawn(move || {
            loop {
                self.await_end();
                // Not all at once, when an agent comes back to many.
                let part = u64::from(std::process::id() % 1000);
                std::thread::sleep(LOOK_AGAIN + Duration::from_millis(part));
                let _not_there_yet = self.tell_agent();
            }
        })?;
        Ok(())
    }

    /// Waits until the agent that has heard it ends; it says no more.
    fn await_end(&mut self) {
        if let Some(mut stream) = self.heard.take()
            && stream.set_read_timeout(None).is_ok()
        {
            let _ended = stream.read(&mut [0]);
        }
    }

    fn tell_agent(&mut self) -> io::Result<Answer> {
        let (stream, answer) = ask(&self.call, None, &self.runtime_dir, PATIENCE)?;
        self.heard = Some(stream);
        Ok(answer)
    }
}
