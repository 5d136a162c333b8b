//! What the fuzz targets share: what is true of every address, and an authority whose key they know.

mod address;
mod sealed;

pub use address::require_canonical;
pub use sealed::Sealed;
