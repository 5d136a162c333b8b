//! Who guesses is kept waiting, and nobody else.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::within;

use super::{PASSWORD, Story, output};

#[test]
fn a_stranger_who_guesses_locks_out_themselves_for_a_while_and_not_alice() -> Result<()> {
    let story = Story::begin("")?;
    let (home, away) = (story.lab.alice(), story.lab.elsewhere());
    for _ in 0..5 {
        let wrong = story.authority.log_in(&away, "alice", "a guess")?;
        ensure!(output(&wrong).contains("wrong user, password or code"), "{}", output(&wrong));
    }
    // Now even the right one is not looked at.
    let shut = story.authority.log_in(&away, "alice", PASSWORD)?;
    ensure!(output(&shut).contains("too many wrong tries"), "{}", output(&shut));
    let alice = story.authority.log_in(&home, "alice", PASSWORD)?;
    ensure!(alice.status.success(), "{}", output(&alice));
    within(Duration::from_secs(60), "the stranger's wait ends", || {
        let again = story.authority.log_in(&away, "alice", PASSWORD)?;
        Ok(again.status.success().then_some(()))
    })
}
