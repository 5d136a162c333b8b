//! Knocking at a node that shows strangers no open port, until it opens for whoever knocked.

mod destination;
mod door;
mod host_keys;
mod knocker;
mod line;
mod visit;

pub use destination::{Destination, DestinationError, ONLY_ASKED, Way};
pub use host_keys::known_host_keys;
pub use knocker::{KnockError, Knocker};
pub use visit::{Outcome, PATIENCE, Signs, Visit, VisitError};
