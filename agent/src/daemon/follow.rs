//! Follows an authority: asks for its policy, and puts each new one in force.

use super::call::FollowingStatus;
use super::locks::Locks;
use super::{Daemon, lock, network};
use crate::audit::{CutCause, Subject, What};
use crate::clock;
use crate::config::{Config, FollowError, Followed};
use crate::session::{SessionId, lock_matches};
use cotter_api::{Authority, AuthorityError, SignedPolicy};
use pinning::Lock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Longest that an authority lets us wait for news.
const WAIT: Duration = Duration::from_secs(50);
/// Between two tries, at first; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// And at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// An authority that says sooner that nothing is new has no room for us to wait.
const SOON: Duration = Duration::from_secs(5);
/// The same refusal is written again after so long.
const AGAIN: Duration = Duration::from_secs(600);
/// Longest text of an error, in characters: an authority may say anything.
const LONGEST_ERROR: usize = 512;
/// Locks that come and go are written one by one up to so many of a policy.
const TOLD: usize = 64;

/// How it goes.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// The configuration names another authority, or none.
    anew: Notify,
    heard: Mutex<Heard>,
    /// Why what is followed could not be written.
    unkept: Mutex<Option<String>>,
}

#[derive(Debug, Default, Clone)]
struct Heard {
    /// When it last answered, Unix seconds.
    at: Option<u64>,
    /// Why the latest try came to nothing.
    error: Option<String>,
    /// The refusal that was written last.
    refused: Option<(String, Instant)>,
}

impl Following {
    /// Nothing has been heard yet; what was kept may not count.
    pub(super) fn at_start(config: &Config) -> Self {
        let heard = Heard { error: config.follow_error.clone(), ..Heard::default() };
        if let Some(error) = &heard.error {
            tracing::error!("the authority's policy that was kept is not in force: {error}");
        }
        Self { heard: Mutex::new(heard), ..Self::default() }
    }

    /// The configuration has changed.
    pub(super) fn begin_anew(&self, config: &Config) {
        *lock(&self.heard) = Self::at_start(config).heard.into_inner().unwrap_or_default();
        self.anew.notify_one();
    }

    fn answered(&self) {
        let mut heard = lock(&self.heard);
        (heard.at, heard.error) = (Some(clock::unix()), None);
    }

    /// Logs each error once.
    fn failed(&self, error: &str) -> String {
        let error: String = error.chars().take(LONGEST_ERROR).collect();
        let before = lock(&self.heard).error.replace(error.clone());
        if before.as_ref() != Some(&error) {
            tracing::warn!("the authority's policy: {error}");
        }
        error
    }

    /// What is followed has been written, or could not be; logs what is new of it.
    pub(super) fn kept(&self, done: Result<(), String>) {
        let mut unkept = lock(&self.unkept);
        match (&*unkept, &done) {
            (before, Err(error)) if before.as_ref() != Some(error) => {
                tracing::error!("{error}; it is tried again")
            }
            (Some(_), Ok(())) => tracing::info!("what the authority says is written again"),
            _ => {}
        }
        *unkept = done.err();
    }

    /// Why what is followed could not be written, if so.
    pub(super) fn unkept(&self) -> Option<String> {
        lock(&self.unkept).clone()
    }

    /// Whether a refusal is to be written.
    fn is_news(&self, error: &str) -> bool {
        let mut heard = lock(&self.heard);
        let known = heard.refused.as_ref().is_some_and(|(last, at)| last == error && at.elapsed() < AGAIN);
        if !known {
            heard.refused = Some((error.to_owned(), Instant::now()));
        }
        !known
    }
}

/// Asks until the daemon ends. Nothing of the daemon's is held meanwhile.
pub(super) async fn follow(daemon: Arc<Daemon>) {
    // First whether the authority is there at all.
    let (mut pauses, mut wait) = (Pauses::default(), Duration::ZERO);
    loop {
        let config = daemon.config();
        let asked = Instant::now();
        let answer = tokio::select! {
            () = daemon.following.anew.notified() => {
                (pauses, wait) = (Pauses::default(), Duration::ZERO);
                continue;
            }
            answer = ask(&config, wait) => answer,
        };
        let go_on = match answer {
            Ok(Some(signed)) => put_in_force(&daemon, signed).await,
            Ok(None) => {
                daemon.following.answered();
                wait.is_zero() || asked.elapsed() >= SOON
            }
            Err(error) => {
                let cause = network::why_there_is_none("authority.conf").unwrap_or_else(|| error.to_string());
                daemon.following.failed(&cause);
                false
            }
        };
        if go_on {
            // That one is there says nothing yet of whether it lets us wait.
            pauses = if wait.is_zero() { pauses } else { Pauses::default() };
            wait = WAIT;
        } else {
            wait = Duration::ZERO;
            tokio::time::sleep(pauses.next()).await;
        }
    }
}

/// Never answers if there is nobody to ask.
async fn ask(config: &Config, wait: Duration) -> Result<Option<SignedPolicy>, AuthorityError> {
    let Some(authority) = &config.authority else { return std::future::pending().await };
    let after = config.newest_followed().map_or(0, |followed| followed.document.version);
    Authority::new(authority.place.clone(), authority.trust.clone()).policy(after, wait).await
}

async fn put_in_force(daemon: &Arc<Daemon>, signed: SignedPolicy) -> bool {
    let worker = Arc::clone(daemon);
    let done = tokio::task::spawn_blocking(move || worker.follow_policy(signed)).await;
    let error = match done {
        Ok(Ok(is_new)) => {
            daemon.following.answered();
            // Somebody who plays back what is known is not asked again at once.
            return is_new;
        }
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic.to_string(),
    };
    let error = daemon.following.failed(&error);
    if daemon.following.is_news(&error) {
        daemon.audit.write(What::PolicyRefused { error }, Subject::default());
    }
    false
}

impl Daemon {
    /// Puts a policy in force, locks first; whether it is new. If its rules are refused, those before stay, and its locks
    /// count all the same: whoever locks somebody out at an authority of a later version is not to fail at this node.
    fn follow_policy(&self, signed: SignedPolicy) -> Result<bool, FollowError> {
        let _one_at_a_time = lock(&self.config_change);
        let config = self.config();
        let Some(authority) = &config.authority else { return Ok(false) };
        let followed = Followed::verify(signed, authority)?;
        if let Some(known) = config.newest_followed()
            && !followed.is_newer_than(known)?
        {
            return Ok(false);
        }
        let followed = Arc::new(followed);
        let new = match config.follow(Arc::clone(&followed)) {
            Ok(new) => new,
            Err(error) => {
                let locked = config.with_locks_of(followed, &error);
                self.follow_locks(&locked);
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(locked);
                self.keep();
                return Err(error);
            }
        };
        let cut = self.follow_locks(&new);
        let what = What::PolicyFollowed {
            version: followed.document.version,
            locks: followed.document.locks().count(),
            cut: cut.len(),
            left_out: new.left_out.clone(),
        };
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        self.audit.write(what, Subject::default());
        self.keep();
        // The hook knows how principals are named.
        let _logged = self.change_mode("authority", |_| ());
        if followed.document.unknown_locks() > 0 {
            let count = followed.document.unknown_locks();
            tracing::error!("{count} locks of the authority's are of kinds that this version does not know");
        }
        Ok(true)
    }

    /// Puts the locks of a configuration's policy in force, and cuts what they hit.
    pub(super) fn follow_locks(&self, config: &Config) -> Vec<SessionId> {
        let followed =
            config.newest_followed().map(|followed| Locks::of_policy(followed)).unwrap_or_default();
        let (new, gone) = self.locks().follow(followed);
        self.locks_changed(new, gone)
    }

    /// Cuts what new locks hit, and says what has come and gone.
    pub(super) fn locks_changed(&self, new: Vec<Lock>, gone: Vec<Lock>) -> Vec<SessionId> {
        let now = clock::unix();
        let hit = |record: &_| new.iter().any(|lock| lock_matches(lock, record, now));
        let cut = if new.is_empty() { Vec::new() } else { self.sessions.cut_where(CutCause::Lock, hit) };
        for lock in new.into_iter().take(TOLD) {
            let (id, target, comment) = (lock.id, lock.target.to_string(), lock.reason);
            self.audit.write(What::Locked { lock: id, target, comment }, Subject::default());
        }
        if !gone.is_empty() {
            self.forgive_unlocked();
        }
        for lock in gone.into_iter().take(TOLD) {
            self.audit.write(What::Unlocked { lock: lock.id }, Subject::default());
        }
        cut
    }

    /// How following goes; `None`: nobody is followed.
    pub(super) fn following(&self) -> Option<FollowingStatus> {
        let config = self.config();
        let authority = config.authority.as_ref()?;
        let document = config.followed.as_ref().map(|followed| &followed.document);
        let heard = lock(&self.following.heard).clone();
        Some(FollowingStatus {
            url: authority.place.to_string(),
            cluster: document.map(|document| document.cluster.clone()),
            version: document.map(|document| document.version),
            issued_at: document.map(|document| document.issued_at),
            heard_at: heard.at,
            error: in_one_line([config.follow_error.clone(), heard.error, self.following.unkept()]),
            left_out: config.left_out.clone(),
        })
    }
}

/// All that is wrong, each once; what outlasts a try of the authority comes first.
fn in_one_line(errors: [Option<String>; 3]) -> Option<String> {
    let mut errors: Vec<String> = errors.into_iter().flatten().collect();
    errors.dedup();
    (!errors.is_empty()).then(|| errors.join("; and: "))
}

/// Between tries: longer each time, and never at one moment for all nodes.
#[derive(Debug, Default)]
struct Pauses(u32);

impl Pauses {
    fn next(&mut self) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.0.min(16)).min(LONGEST_PAUSE);
        self.0 = self.0.saturating_add(1);
        let mut random = [0; 2];
        // Without a random number all nodes come at one moment, no more.
        let _filled = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        pause / 2 + pause.mul_f64(f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX)) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_are_never_none() {
        let mut pauses = Pauses::default();
        for longest in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            let (pause, longest) = (pauses.next(), Duration::from_millis(longest));
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?} of {longest:?}");
        }
        pauses.0 = u32::MAX;
        assert!(pauses.next() <= LONGEST_PAUSE);
    }

    #[test]
    fn the_same_refusal_is_news_once() {
        let following = Following::default();
        assert!(following.is_news("a"));
        assert!(!following.is_news("a"));
        assert!(following.is_news("b"));
    }
}
