//! Sources that are kept out: the kernel's penalty table, bounded in time and number.

use super::call::Penalty as Listed;
use crate::clock;
use crate::datapath::{Error, Tables};
use agent_ebpf::{Address, Penalty};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The penalty table.
pub(crate) struct Penalties {
    tables: Arc<Tables>,
}

impl Penalties {
    pub(super) fn new(tables: Arc<Tables>) -> Self {
        Self { tables }
    }

    /// Keeps a source out from now on.
    ///
    /// # Errors
    /// The table is full, or the kernel refuses.
    pub(crate) fn add(&self, address: IpAddr, lasting: Duration) -> Result<(), Error> {
        let lasting = u64::try_from(lasting.as_nanos()).unwrap_or(u64::MAX);
        self.tables.add_penalty(address.into(), clock::monotonic().saturating_add(lasting))
    }

    /// Whether a source is kept out.
    pub(super) fn holds(&self, address: IpAddr) -> Result<bool, Error> {
        let penalty = self.tables.penalty(address.into())?;
        Ok(penalty.is_some_and(|penalty| !penalty.is_over(clock::monotonic())))
    }

    /// Those that are not over, the first to end first.
    pub(super) fn list(&self) -> Vec<Listed> {
        let now = clock::monotonic();
        let mut penalties: Vec<Listed> = self
            .all()
            .into_iter()
            .filter(|(_, penalty)| !penalty.is_over(now))
            .map(|(address, penalty)| Listed {
                address: address.ip().to_string(),
                seconds_left: (penalty.end() - now).div_ceil(1_000_000_000),
            })
            .collect();
        penalties.sort_by_key(|penalty| penalty.seconds_left);
        penalties
    }

    /// Forgets all of them; how many there were.
    pub(super) fn clear(&self) -> usize {
        let all = self.all();
        for (address, _) in &all {
            self.remove(*address);
        }
        all.len()
    }

    /// Forgets those that are over.
    pub(super) fn remove_ended(&self) {
        let now = clock::monotonic();
        for (address, _) in self.all().into_iter().filter(|(_, penalty)| penalty.is_over(now)) {
            self.remove(address);
        }
    }

    fn all(&self) -> Vec<(Address, Penalty)> {
        let read = self.tables.penalties();
        read.inspect_err(|error| tracing::error!("penalties cannot be read: {error}")).unwrap_or_default()
    }

    fn remove(&self, address: Address) {
        if let Err(error) = self.tables.remove_penalty(address) {
            tracing::error!("the penalty of {} stays: {error}", address.ip());
        }
    }
}
