//! `run`: the authority itself.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Common, Failure};
use crate::ca::CaKeys;
use crate::http::Authority;
use crate::login::Logins;
use crate::password::Passwords;
use crate::serve::serve;
use crate::throttle::Throttle;
use crate::tls::Tls;

pub(super) async fn run(common: &Common) -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (config, store) = common.open().await?;
    let roles = config.roles().map_err(Failure::usage)?;
    let logins = Logins {
        store,
        ca: CaKeys::load(&config.ca_keys).map_err(Failure::usage)?,
        roles: roles.into_iter().map(|role| (role.name.clone(), role)).collect(),
        passwords: Passwords::new().map_err(Failure::unavailable)?,
        throttle: Throttle::default(),
    };
    let tls = Tls::load(&config).map_err(Failure::usage)?;
    let acceptor = TlsAcceptor::from(tls.server);
    let authority = Arc::new(Authority { name: config.name, hops: config.hops, logins });
    let mut listeners = JoinSet::new();
    for address in config.listen {
        let listener = TcpListener::bind(address).await;
        let listener =
            listener.map_err(|error| Failure::unavailable(format!("cannot listen at {address}: {error}")))?;
        let (authority, acceptor) = (Arc::clone(&authority), acceptor.clone());
        listeners.spawn(serve(listener, authority, acceptor, config.proxy_protocol));
        tracing::info!("listens at {address}, fingerprint {}", tls.fingerprint);
    }
    // An error means that nobody has started it so.
    let _told = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::unavailable)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = listeners.join_next() => {}
    }
    Ok(())
}
