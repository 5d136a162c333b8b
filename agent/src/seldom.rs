//! Lines of the log that others bring about: so many and no more.

use std::time::{Duration, Instant};

/// How often something is told that others bring about, such as that somebody connects who is no trusted balancer: so many
/// lines at most, in so long a time.
const TELL_MOST: u32 = 10;
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What others bring about, and is therefore told only so often.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Seldom {
    /// It has happened: tells it, with how often it was not told before, or does not.
    pub(crate) fn tell(&mut self, tell: impl FnOnce(u64)) {
        if self.since.is_none_or(|since| since.elapsed() >= TELL_EVERY) {
            (self.since, self.told) = (Some(Instant::now()), 0);
        }
        if self.told < TELL_MOST {
            self.told += 1;
            tell(std::mem::take(&mut self.untold));
        } else {
            self.untold += 1;
        }
    }
}

/// The end of a line that stands for others.
pub(crate) fn also(more: u64) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} others like it)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_bring_about_is_told_so_often_and_the_rest_is_counted() {
        let (mut seldom, mut lines) = (Seldom::default(), Vec::new());
        for _ in 0..TELL_MOST + 5 {
            seldom.tell(|more| lines.push(also(more)));
        }
        assert_eq!(lines, vec![String::new(); TELL_MOST as usize]);
        seldom.since = Instant::now().checked_sub(TELL_EVERY);
        seldom.tell(|more| lines.push(also(more)));
        assert_eq!(lines.last().unwrap(), " (and 5 others like it)");
    }
}
