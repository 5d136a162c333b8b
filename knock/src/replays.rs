//! What was taken already: the same knock opens no door twice.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest::{SHA256, digest};

use crate::{Knock, NONCE_LEN, Outside, Proven, UnixMillis, Window};

/// As many knocks as a node remembers: a thousand a second, for as long as the latest of them counts. At most some 8 MiB.
pub const CAPACITY: usize = 65_536;
/// As many knocks of one certificate as are taken in a window: nobody's certificate fills the memory to shut others out.
pub const MOST_OF_ONE: usize = 256;

/// The knocks that were taken and could be sent once more.
///
/// Only proven ones are remembered, so that no stranger fills it. Each is remembered until its time is too old; when there
/// is no room, a new one is refused rather than an old one forgotten.
///
/// When the clock is set back by more than a window, what was forgotten before counts again as it once did; a knock sent
/// then once more opens for nobody but whom its certificate is pinned to.
#[derive(Debug)]
pub struct Replays {
    capacity: usize,
    /// In the order in which they get too old.
    taken: BTreeSet<Taken>,
    /// How many of each certificate.
    of_one: BTreeMap<[u8; 32], usize>,
    /// Whatever is of this time or before is forgotten, and refused.
    forgotten: UnixMillis,
    latest: UnixMillis,
}

/// A knock that was taken. The certificate is part of it, or one user could use up another's nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Taken {
    time: UnixMillis,
    certificate: [u8; 32],
    nonce: [u8; NONCE_LEN],
}

/// Why a knock is not taken, proven as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its time does not count.
    #[error(transparent)]
    Outside(#[from] Outside),
    /// It was taken before.
    #[error("the knock was taken before")]
    Replayed,
    /// Its certificate has knocked too often.
    #[error("the certificate has knocked more than {MOST_OF_ONE} times within a minute")]
    Often,
    /// There are too many at once.
    #[error("more knocks within a minute than can be remembered")]
    Full,
}

impl Replays {
    /// An empty memory of so many knocks, that refuses whatever is not later than what an agent before it has taken.
    ///
    /// A client whose clock is ahead sends knocks that are later than the start of an agent which takes over then. So
    /// [`Replays::latest`] is to be kept where it outlives the agent, or such a knock can be sent once more. One that is
    /// further ahead than a window is of another clock, and does not count.
    pub fn new(capacity: usize, latest: Option<UnixMillis>) -> Self {
        let latest = latest.unwrap_or(UnixMillis(0));
        Self { capacity, taken: BTreeSet::new(), of_one: BTreeMap::new(), forgotten: latest, latest }
    }

    /// Whether it was taken already: to be asked before its proof is checked, which costs more.
    pub fn knows(&self, knock: &Knock<'_>) -> bool {
        self.taken.contains(&Taken::of(knock))
    }

    /// Takes a knock, this once.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn take(&mut self, window: &Window, proven: &Proven<'_>) -> Result<(), Refusal> {
        let knock = Taken::of(proven.knock());
        window.require(knock.time)?;
        self.forget(window);
        if knock.time <= self.forgotten {
            return Err(Outside::Late(self.forgotten).into());
        }
        if self.taken.contains(&knock) {
            return Err(Refusal::Replayed);
        }
        if self.of_one.get(&knock.certificate).is_some_and(|count| *count >= MOST_OF_ONE) {
            return Err(Refusal::Often);
        }
        if self.taken.len() >= self.capacity {
            return Err(Refusal::Full);
        }
        *self.of_one.entry(knock.certificate).or_default() += 1;
        self.latest = self.latest.max(knock.time);
        self.taken.insert(knock);
        Ok(())
    }

    /// The latest time of all that was taken; to be kept before the door is opened.
    pub fn latest(&self) -> UnixMillis {
        self.latest
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Forgets what is too old, and never takes it again: whoever comes with a window of a moment ago finds the door shut.
    fn forget(&mut self, window: &Window) {
        let set_back = window.until() < self.forgotten;
        if set_back {
            // An agent that takes over does not believe times of a clock that was wrong, and would refuse nothing.
            let times = self.taken.iter().rev().map(|taken| taken.time);
            self.latest = times.into_iter().find(|time| *time <= window.until()).unwrap_or(window.after());
        }
        self.forgotten = if set_back { window.after() } else { self.forgotten.max(window.after()) };
        while let Some(oldest) = self.taken.first().filter(|oldest| oldest.time <= self.forgotten).copied() {
            self.taken.remove(&oldest);
            let count = self.of_one.entry(oldest.certificate).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_one.remove(&oldest.certificate);
            }
        }
    }
}

impl Taken {
    fn of(knock: &Knock<'_>) -> Self {
        let mut certificate = [0; 32];
        certificate.copy_from_slice(digest(&SHA256, knock.certificate()).as_ref());
        Self { time: knock.time(), certificate, nonce: knock.nonce() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test_knock::{NODE, User};

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn window(now: u64) -> Window {
        Window::at(UnixMillis(now), Duration::MAX)
    }

    /// Has the memory take the user's knock of a time, at this time.
    fn take(replays: &mut Replays, user: &User, now: u64, time: u64, nonce: u8) -> Result<(), Refusal> {
        let packed = user.knock(NODE, UnixMillis(time), [nonce; 16], None);
        let proven = Knock::parse(packed.bytes()).unwrap().prove().unwrap();
        let known = replays.knows(proven.knock());
        let taken = replays.take(&window(now), &proven);
        assert_eq!(known, taken == Err(Refusal::Replayed));
        assert!(taken.is_err() || replays.knows(proven.knock()));
        taken
    }

    #[test]
    fn a_knock_is_taken_once() {
        let (alice, bob) = (User::seeded(1), User::seeded(2));
        let mut replays = Replays::new(CAPACITY, None);
        assert!(replays.is_empty());
        assert_eq!(take(&mut replays, &alice, NOW.0, NOW.0, 1), Ok(()));
        assert_eq!(take(&mut replays, &alice, NOW.0, NOW.0, 1), Err(Refusal::Replayed));
        assert_eq!(take(&mut replays, &alice, NOW.0, NOW.0, 2), Ok(()));
        // Nobody uses up another's nonce.
        assert_eq!(take(&mut replays, &bob, NOW.0, NOW.0, 1), Ok(()));
        assert_eq!(replays.len(), 3);
        assert_eq!(replays.latest(), NOW);
    }

    #[test]
    fn what_is_forgotten_is_too_old_to_be_taken() {
        let alice = User::seeded(1);
        let mut replays = Replays::new(CAPACITY, None);
        assert_eq!(take(&mut replays, &alice, NOW.0, NOW.0 + 10_000, 1), Ok(()));
        assert_eq!(take(&mut replays, &alice, NOW.0, NOW.0, 2), Ok(()));
        assert_eq!(take(&mut replays, &alice, NOW.0 + 30_000, NOW.0 + 30_000, 3), Ok(()));
        assert_eq!(replays.len(), 2, "the one of now is forgotten");
        let late = |at: u64| Err(Refusal::Outside(Outside::Late(UnixMillis(at))));
        assert_eq!(take(&mut replays, &alice, NOW.0 + 30_000, NOW.0, 2), late(NOW.0));
        // Nor by whoever has looked at the clock a moment earlier.
        assert_eq!(take(&mut replays, &alice, NOW.0 + 29_999, NOW.0, 2), late(NOW.0));
        assert_eq!(take(&mut replays, &alice, NOW.0 + 39_999, NOW.0 + 10_000, 1), Err(Refusal::Replayed));
    }

    #[test]
    fn a_full_memory_takes_no_new_knock_and_forgets_no_old_one() {
        let users: Vec<User> = (1..=4).map(User::seeded).collect();
        let mut replays = Replays::new(3, None);
        for user in &users[..3] {
            assert_eq!(take(&mut replays, user, NOW.0, NOW.0, 1), Ok(()));
        }
        assert_eq!(take(&mut replays, &users[3], NOW.0, NOW.0, 1), Err(Refusal::Full));
        for user in &users[..3] {
            assert_eq!(take(&mut replays, user, NOW.0, NOW.0, 1), Err(Refusal::Replayed));
        }
        let later = NOW.0 + 30_000;
        assert_eq!(take(&mut replays, &users[3], later, later, 1), Ok(()));
        assert_eq!(replays.len(), 1);
    }

    #[test]
    fn nobody_fills_it_alone() {
        let (alice, bob) = (User::seeded(1), User::seeded(2));
        let mut replays = Replays::new(CAPACITY, None);
        let mut time = NOW.0;
        for _ in 0..MOST_OF_ONE {
            assert_eq!(take(&mut replays, &alice, NOW.0, time, 1), Ok(()));
            time += 1;
        }
        assert_eq!(take(&mut replays, &alice, NOW.0, time, 1), Err(Refusal::Often));
        assert_eq!(take(&mut replays, &bob, NOW.0, time, 1), Ok(()));
        assert_eq!(
            take(&mut replays, &alice, NOW.0 + 30_000, time, 1),
            Ok(()),
            "the first of them is forgotten"
        );
    }

    #[test]
    fn an_agent_knows_what_the_one_before_it_took() {
        let alice = User::seeded(1);
        let mut before = Replays::new(CAPACITY, None);
        // Her clock is ahead.
        assert_eq!(take(&mut before, &alice, NOW.0, NOW.0 + 20_000, 1), Ok(()));
        let mut after = Replays::new(CAPACITY, Some(before.latest()));
        let late = Err(Refusal::Outside(Outside::Late(before.latest())));
        assert_eq!(take(&mut after, &alice, NOW.0 + 1_000, NOW.0 + 20_000, 1), late);
        assert_eq!(take(&mut after, &alice, NOW.0 + 1_000, NOW.0 + 20_001, 2), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_right_keeps_nobody_out() {
        let alice = User::seeded(1);
        let hour = 3_600_000;
        let mut replays = Replays::new(CAPACITY, None);
        assert_eq!(take(&mut replays, &alice, NOW.0 + hour, NOW.0 + hour, 1), Ok(()));
        assert_eq!(take(&mut replays, &alice, NOW.0, NOW.0, 2), Ok(()));
        // What was remembered is not forgotten for that.
        assert_eq!(take(&mut replays, &alice, NOW.0 + hour, NOW.0 + hour, 1), Err(Refusal::Replayed));
        // And the next agent goes by the right clock.
        let mut resumed = Replays::new(CAPACITY, Some(replays.latest()));
        let late = Err(Refusal::Outside(Outside::Late(NOW)));
        assert_eq!(take(&mut resumed, &alice, NOW.0, NOW.0, 2), late);
        assert_eq!(take(&mut resumed, &alice, NOW.0, NOW.0 + 1, 3), Ok(()));
        let mut misled = Replays::new(CAPACITY, Some(UnixMillis(NOW.0 + hour)));
        assert_eq!(take(&mut misled, &alice, NOW.0, NOW.0, 2), Ok(()));
    }
}
