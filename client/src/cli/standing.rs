//! What a login is worth, here and now.

use cotter_api::{AuthorityError, Observation};
use pinning::{Address, Identity};
use tokio::task::spawn_blocking;

use super::{Context, Failure};
use crate::credential::{self, Unfit, unfit};
use crate::known::Known;
use crate::whereabouts;

/// What a login is worth.
pub(super) struct Standing {
    /// What the certificate says, if there is one.
    pub(super) identity: Option<Identity>,
    /// Where the authority sees us; `Err`: it cannot be asked.
    pub(super) seen: Result<Vec<Observation>, AuthorityError>,
    /// Why it is worth nothing, if so.
    pub(super) unfit: Option<Unfit>,
}

impl Standing {
    /// Asks the authority where we are, and compares. An authority that cannot be asked says nothing against a certificate.
    pub(super) async fn look(context: &Context, known: &Known) -> Result<Self, Failure> {
        let drawer = context.drawer(known)?;
        let identity = credential::identity(&drawer)?;
        let authority = known.authority(&context.fleet).map_err(Failure::usage)?;
        let pins = identity.as_ref().and_then(|identity| identity.pins.as_ref());
        let seen = whereabouts::seen(&authority, pins).await;
        let addresses: Vec<Address> = match &seen {
            Ok(seen) => seen.iter().filter_map(|it| it.address).collect(),
            // Those of the pins: only the time is compared.
            Err(_) => pins.iter().flat_map(|pins| pins.networks()).map(|it| it.net().addr().into()).collect(),
        };
        let mut unfit = unfit(identity.as_ref(), &addresses, credential::unix());
        if let Some(identity) = identity.as_ref().filter(|identity| identity.key_id != known.user) {
            unfit = Some(Unfit::AnothersOwn(identity.key_id.clone()));
        }
        // An ssh-agent may take its time.
        if unfit.is_none()
            && !spawn_blocking(move || credential::has_key(&drawer)).await.map_err(Failure::unreachable)??
        {
            unfit = Some(Unfit::KeyGone);
        }
        Ok(Self { identity, seen, unfit })
    }

    /// Where the authority sees us.
    pub(super) fn addresses(&self) -> Vec<Address> {
        self.seen.iter().flatten().filter_map(|it| it.address).collect()
    }
}
