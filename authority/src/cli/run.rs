//! `run`: the authority itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::{Common, Failure};
use crate::audit::{Audit, Subject, What};
use crate::config::Config;
use crate::password::Passwords;
use crate::policy::{Feed, LastPublished, PolicySigner, Publisher};
use crate::serve::{Room, serve};
use crate::serving::{Kept, Loaded, Serving};
use crate::statement::Witness;
use crate::store::Watch;
use crate::throttle::Throttle;

/// How often what was not written one by one is looked at.
const SUMMARY: Duration = Duration::from_secs(5);

pub(super) async fn run(common: &Common) -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (config, store) = common.open().await?;
    let audit = Audit::of_daemon(&config.name, config.event_log.as_deref()).map_err(Failure::unavailable)?;
    let loaded = Loaded::from(&config).map_err(Failure::usage)?;
    let publisher = Publisher {
        cluster: config.name.clone(),
        store: store.clone(),
        signer: PolicySigner::load(&config.state_dir).map_err(Failure::usage)?,
        last: LastPublished::of(&config.state_dir),
    };
    // A new storage has nothing to show before.
    let changes = publisher.publish_at_start(&loaded.rules).await.map_err(Failure::usage)?;
    changes.write(&audit);
    let secret = store.secret("statement").await.map_err(Failure::unavailable)?;
    let kept = Kept {
        store,
        witness: Witness::new(&secret),
        feed: Arc::new(Feed::new(publisher.make().await.map_err(Failure::unavailable)?)),
        publisher,
        passwords: Passwords::new().map_err(Failure::unavailable)?,
        throttle: Arc::new(Throttle::default()),
        audit: Arc::new(audit),
    };
    let serving = Serving::new(&config, loaded, &kept);
    tracing::info!("the certificate's fingerprint is {}", serving.fingerprint);
    let (serving, in_force) = watch::channel(serving);
    let mut tasks = listen(&config, &in_force).await?;
    tasks.spawn(publish(kept.clone(), Watch::new(&config.storage)));
    kept.audit.write(What::AuthorityStarted, Subject::default());
    // An error means that nobody has started it so.
    let _told = sd_notify::notify(&[NotifyState::Ready]);
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::unavailable)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::unavailable)?;
    let mut summary = interval(SUMMARY);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = tasks.join_next() => return Err(Failure::unavailable("a task of the authority's has ended")),
            _ = hangup.recv() => reload(&common.config, &config, &kept, &serving).await,
            _ = summary.tick() => kept.audit.summarise(),
        }
    }
    kept.audit.summarise_all();
    kept.audit.write(What::AuthorityStopped, Subject::default());
    Ok(())
}

async fn listen(config: &Config, serving: &watch::Receiver<Serving>) -> Result<JoinSet<()>, Failure> {
    let (mut listeners, room) = (JoinSet::new(), Room::default());
    for address in &config.listen {
        let listener = TcpListener::bind(address).await;
        let listener =
            listener.map_err(|error| Failure::unavailable(format!("cannot listen at {address}: {error}")))?;
        listeners.spawn(serve(listener, serving.clone(), room.clone()));
        tracing::info!("listens at {address}");
    }
    Ok(listeners)
}

/// Hands out each new policy until the process ends.
async fn publish(kept: Kept, watch: Watch) {
    kept.feed.follow(&kept.publisher, &kept.audit, watch).await;
}

/// Puts in force what the files say now, all of it or nothing.
async fn reload(path: &Path, first: &Config, kept: &Kept, serving: &watch::Sender<Serving>) {
    match changed(path, first, kept).await {
        Ok((config, new)) => {
            let keys = new.authority.logins.ca.fingerprints().map(|key| key.to_string()).collect();
            let roles = new.authority.logins.roles.keys().cloned().collect();
            if let Err(error) = kept.audit.set_file(config.event_log.as_deref()) {
                tracing::warn!("the event log stays as it was: {error}");
            }
            serving.send_replace(new);
            kept.audit.write(What::Reloaded { roles, ca_keys: keys }, Subject::default());
        }
        Err(error) => {
            tracing::error!("nothing is reloaded: {error}");
            kept.audit.write(What::ReloadFailed { error }, Subject::default());
        }
    }
}

async fn changed(path: &Path, first: &Config, kept: &Kept) -> Result<(Config, Serving), String> {
    let config = Config::load(path).map_err(|error| error.to_string())?;
    for (key, differs) in [
        ("name", config.name != first.name),
        ("listen", config.listen != first.listen),
        ("state_dir", config.state_dir != first.state_dir),
        ("storage", config.storage != first.storage),
    ] {
        if differs {
            return Err(format!("{}: {key} has changed, which takes a restart", path.display()));
        }
    }
    let loaded = Loaded::from(&config).map_err(|error| error.to_string())?;
    let changes = kept.publisher.publish(&loaded.rules).await;
    changes.map_err(|error| format!("the policy cannot be published: {error}"))?.write(&kept.audit);
    let serving = Serving::new(&config, loaded, kept);
    Ok((config, serving))
}
