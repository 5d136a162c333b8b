//! `run`: the authority itself.

use std::sync::{Arc, RwLock};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Common, Failure};
use crate::ca::CaKeys;
use crate::config::Config;
use crate::http::Authority;
use crate::login::{InForce, Logins};
use crate::password::Passwords;
use crate::policy::{Feed, PolicySigner, Publisher};
use crate::serve::serve;
use crate::statement::Witness;
use crate::store::Watch;
use crate::throttle::Throttle;
use crate::tls::Tls;

pub(super) async fn run(common: &Common) -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (config, store) = common.open().await?;
    let signer = PolicySigner::load_or_make(&config.state_dir, &config.name).map_err(Failure::usage)?;
    let publisher = Publisher { cluster: config.name.clone(), store: store.clone(), signer };
    let in_force = read(&config, &publisher).await?;
    let first = publisher.make().await.map_err(Failure::unavailable)?;
    let secret = store.secret("statement").await.map_err(Failure::unavailable)?;
    let logins = Logins {
        store,
        witness: Witness::new(&secret),
        cluster: config.name.clone(),
        in_force: RwLock::new(Arc::new(in_force)),
        passwords: Passwords::new().map_err(Failure::unavailable)?,
        throttle: Throttle::default(),
    };
    let tls = Tls::load(&config).map_err(Failure::usage)?;
    let acceptor = TlsAcceptor::from(tls.server);
    let (feed, watch) = (Feed::new(first), Watch::new(&config.storage));
    let policy_readers = config.policy_readers;
    let authority =
        Arc::new(Authority { name: config.name, hops: config.hops, logins, feed, policy_readers });
    let mut tasks = JoinSet::new();
    for address in config.listen {
        let listener = TcpListener::bind(address).await;
        let listener =
            listener.map_err(|error| Failure::unavailable(format!("cannot listen at {address}: {error}")))?;
        let (authority, acceptor) = (Arc::clone(&authority), acceptor.clone());
        tasks.spawn(serve(listener, authority, acceptor, config.proxy_protocol));
        tracing::info!("listens at {address}, fingerprint {}", tls.fingerprint);
    }
    let (followed, follower) = (Arc::clone(&authority), publisher.clone());
    tasks.spawn(async move { followed.feed.follow(follower, watch).await });
    let mut reloads = signal(SignalKind::hangup()).map_err(Failure::unavailable)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::unavailable)?;
    // An error means that nobody has started it so.
    let _told = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    loop {
        tokio::select! {
            _ = reloads.recv() => reload(common, &authority, &publisher).await,
            _ = terminate.recv() => return Ok(()),
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = tasks.join_next() => return Err(Failure::unavailable("a task of the authority's has ended")),
        }
    }
}

/// Reads keys, roles and trusted clusters, and publishes them: all of them, or nothing.
async fn read(config: &Config, publisher: &Publisher) -> Result<InForce, Failure> {
    let ca = CaKeys::load(&config.ca_keys).map_err(Failure::usage)?;
    let rules = config.rules(&ca.public_lines().map_err(Failure::usage)?).map_err(Failure::usage)?;
    publisher.publish(&rules).await.map_err(Failure::unavailable)?;
    let roles = config.roles().map_err(Failure::usage)?;
    Ok(InForce { ca, roles: roles.into_iter().map(|role| (role.name.clone(), role)).collect() })
}

/// Keys, roles and trusted clusters anew; what else stands in the file needs a restart.
async fn reload(common: &Common, authority: &Authority, publisher: &Publisher) {
    let read = async {
        let config = common.load()?;
        if config.name != authority.name {
            return Err(Failure::usage("name cannot change while the authority runs; restart it"));
        }
        read(&config, publisher).await
    };
    match read.await {
        Ok(new) => {
            authority.logins.adopt(new);
            tracing::info!("reloaded: CA keys, roles and trusted clusters");
        }
        Err(failure) => tracing::error!("what was in force stays: {}", failure.message),
    }
}
