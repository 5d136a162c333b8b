//! As much work for people whom nobody knows as for those whom somebody does: else the time of an answer tells who is there.

use anyhow::{Result, ensure};

use super::{PASSWORD, Story, output};

/// As many as are looked at of one person before their address has to wait.
const TRIES: usize = 5;

impl Story {
    /// What the authority works, in ticks, while each of these is tried by a wrong password from elsewhere.
    fn work_of(&self, people: &[&str]) -> Result<u64> {
        let away = self.lab.elsewhere();
        let before = self.authority.processor_time()?;
        for person in people.iter().flat_map(|person| [person; TRIES]) {
            let refused = self.authority.log_in(&away, person, "a guess")?;
            let words = output(&refused);
            ensure!(words.contains("wrong user, password or code"), "{words}");
        }
        Ok(self.authority.processor_time()? - before)
    }
}

#[test]
fn whom_nobody_knows_is_compared_as_long_as_whom_somebody_does() -> Result<()> {
    let story = Story::begin("")?;
    for user in ["bob", "carol", "dave"] {
        story.authority.add(user, PASSWORD, &["--role", "open"])?;
    }
    let known = story.work_of(&["alice", "bob", "carol", "dave"])?;
    let unknown = story.work_of(&["eve", "frank", "grace", "heidi"])?;
    ensure!(known > 20, "nothing is compared in {known} ticks");
    let ratio = unknown as f64 / known as f64;
    ensure!((0.5..2.0).contains(&ratio), "{unknown} ticks for whom nobody knows, {known} for others");
    Ok(())
}
