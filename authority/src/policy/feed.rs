//! Who asks for the policy gets the newest, or waits for the next.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::{PolicyError, Published, Publisher};
use crate::audit::{Audit, Subject, What};
use crate::share::{Part, Shares};
use crate::store::{Heard, Watch};

/// Callers that wait at once. They hold no place of those who log in.
const WAITING: usize = 4096;
/// Of one source: a fleet behind one address finds room, and leaves some.
const SHARE: usize = 1024;
/// After the storage has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The policy, and those who wait for the next.
#[derive(Debug)]
pub struct Feed {
    newest: watch::Sender<Arc<Published>>,
    places: Semaphore,
    shares: Shares,
}

/// A place among those who wait.
#[derive(Debug)]
pub struct Waiting<'a>(#[expect(dead_code, reason = "it is held")] (SemaphorePermit<'a>, Part));

impl Feed {
    /// A feed that begins with the policy as it is.
    pub fn new(first: Published) -> Self {
        Self {
            newest: watch::Sender::new(Arc::new(first)),
            places: Semaphore::new(WAITING),
            shares: Shares::of(SHARE),
        }
    }

    /// The newest policy.
    pub fn newest(&self) -> Arc<Published> {
        Arc::clone(&self.newest.borrow())
    }

    /// A place to wait, if one is free, and this source has not had its share.
    pub fn place(&self, source: IpAddr) -> Option<Waiting<'_>> {
        let part = self.shares.part(source)?;
        Some(Waiting((self.places.try_acquire().ok()?, part)))
    }

    /// The first policy with a higher version, if there is one before the time is over.
    pub async fn after(&self, version: u64, wait: Duration, _place: &Waiting<'_>) -> Option<Arc<Published>> {
        let mut newest = self.newest.subscribe();
        let higher = newest.wait_for(|published| published.version > version);
        Some(Arc::clone(&*timeout(wait, higher).await.ok()?.ok()?))
    }

    /// Keeps the newest policy the newest until the process ends.
    pub(crate) async fn follow(&self, publisher: &Publisher, audit: &Audit, mut watch: Watch) {
        let mut said = String::new();
        loop {
            let heard = watch.changed().await;
            match self.look(publisher, audit).await {
                Ok(is_new) => {
                    said.clear();
                    if is_new {
                        self.log(heard);
                    }
                }
                Err(error) => {
                    // Once, however long it lasts.
                    if error.to_string() != said {
                        said = error.to_string();
                        tracing::warn!("version {} of the policy stays: {said}", self.newest().version);
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Where all are found by looking, whoever should tell does not: such as a pooler that takes no LISTEN.
    fn log(&self, heard: Heard) {
        let how = match heard {
            Heard::Change => "told of",
            Heard::Nothing => "found by looking",
        };
        tracing::info!("version {} of the policy, {how}", self.newest().version);
    }

    /// Hands out the newest policy if it is another; whether it is.
    async fn look(&self, publisher: &Publisher, audit: &Audit) -> Result<bool, PolicyError> {
        if publisher.store.policy_version().await? == self.newest().version {
            return Ok(false);
        }
        let new = Arc::new(publisher.make().await?);
        self.newest.send_replace(Arc::clone(&new));
        audit.write(What::PolicyPublished { version: new.version }, Subject::default());
        Ok(true)
    }
}
