//! What connections are served with: all that the configuration says, whole, replaced at a reload.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use crate::audit::{Audit, Subject, What};
use crate::ca::{CaError, CaKeys};
use crate::config::{Config, ConfigError, ProxyProtocol};
use crate::http::Authority;
use crate::login::Logins;
use crate::password::Passwords;
use crate::policy::{Feed, PolicyError, Publisher, RoleChanges};
use crate::statement::Witness;
use crate::store::Store;
use crate::throttle::Throttle;
use crate::tls::{Tls, TlsError};

/// What outlives a reload.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) store: Store,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) witness: Witness,
    pub(crate) audit: Arc<Audit>,
    pub(crate) publisher: Publisher,
    pub(crate) feed: Arc<Feed>,
}

/// What a connection is served with until it ends.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) authority: Arc<Authority>,
    pub(crate) tls: TlsAcceptor,
    pub(crate) proxied: ProxyProtocol,
    /// Of the certificate that is shown.
    pub(crate) fingerprint: String,
}

/// What is wrong with a configuration, or with what it names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServingError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the CA keys cannot be told to nodes: {0}")]
    Lines(#[from] ssh_key::Error),
    #[error("the policy cannot be published: {0}")]
    Policy(#[from] PolicyError),
}

/// Publishes what nodes are to go by, and writes what becomes of roles by that; the keys that nodes are told.
///
/// # Errors
/// The first that cannot be used; nothing is published then.
pub(crate) async fn publish(
    config: &Config,
    publisher: &Publisher,
    audit: &Audit,
) -> Result<CaKeys, ServingError> {
    let ca = CaKeys::load(&config.ca_keys)?;
    let changes = publisher.publish(&config.rules(&ca.public_lines()?)?).await?;
    if !changes.is_empty() {
        let RoleChanges { added, changed, removed } = changes;
        audit.write(What::RolesChanged { added, changed, removed }, Subject::default());
    }
    Ok(ca)
}

impl Serving {
    /// Reads all that the configuration names, and publishes what nodes are to go by.
    ///
    /// # Errors
    /// The first that cannot be used; nothing is published then.
    pub(crate) async fn new(config: &Config, kept: &Kept) -> Result<Self, ServingError> {
        let roles = config.roles()?;
        let tls = Tls::load(config)?;
        let ca = publish(config, &kept.publisher, &kept.audit).await?;
        let logins = Logins {
            store: kept.store.clone(),
            cluster: config.name.clone(),
            ca,
            roles: roles.into_iter().map(|role| (role.name.clone(), role)).collect(),
            passwords: kept.passwords.clone(),
            throttle: Arc::clone(&kept.throttle),
            witness: kept.witness.clone(),
        };
        let authority = Authority {
            name: config.name.clone(),
            hops: config.hops.clone(),
            logins,
            audit: Arc::clone(&kept.audit),
            feed: Arc::clone(&kept.feed),
            policy_readers: config.policy_readers.clone(),
        };
        Ok(Self {
            authority: Arc::new(authority),
            tls: TlsAcceptor::from(tls.server),
            proxied: config.proxy_protocol,
            fingerprint: tls.fingerprint,
        })
    }
}
