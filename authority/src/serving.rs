//! What connections are served with: all that the configuration says, whole, replaced at a reload.

use std::sync::Arc;

use cotter_api::Rules;
use cotter_knock::FleetSecret;
use pinning::Role;
use tokio_rustls::TlsAcceptor;

use crate::audit::Audit;
use crate::ca::{CaError, CaKeys};
use crate::config::{Config, ConfigError, ProxyProtocol};
use crate::http::Authority;
use crate::knock_secret::{self, KnockSecretError};
use crate::login::Logins;
use crate::password::Passwords;
use crate::policy::{Feed, Publisher};
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
    #[error(transparent)]
    KnockSecret(#[from] KnockSecretError),
    #[error("the CA keys cannot be told to nodes: {0}")]
    Lines(#[from] ssh_key::Error),
}

/// What the files say, and all that they name, read and found right.
pub(crate) struct Loaded {
    roles: Vec<Role>,
    tls: Tls,
    ca: CaKeys,
    knock_secret: Option<FleetSecret>,
    /// What nodes are to go by.
    pub(crate) rules: Rules,
}

impl Loaded {
    /// # Errors
    /// The first that cannot be used.
    pub(crate) fn from(config: &Config) -> Result<Self, ServingError> {
        let ca = CaKeys::load(&config.ca_keys)?;
        let rules = config.rules(&ca.public_lines()?)?;
        let knock_secret = config.knock_secret.as_deref().map(knock_secret::read).transpose()?;
        Ok(Self { roles: config.roles()?, tls: Tls::load(config)?, ca, knock_secret, rules })
    }
}

impl Serving {
    /// What connections are served with from now on.
    pub(crate) fn new(config: &Config, loaded: Loaded, kept: &Kept) -> Self {
        let Loaded { roles, tls, ca, knock_secret, .. } = loaded;
        let logins = Logins {
            store: kept.store.clone(),
            cluster: config.name.clone(),
            ca,
            knock_secret,
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
        Self {
            authority: Arc::new(authority),
            tls: TlsAcceptor::from(tls.server),
            proxied: config.proxy_protocol,
            fingerprint: tls.fingerprint,
        }
    }
}
