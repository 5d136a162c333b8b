//! How audit events are written, on nodes and by the authority: lines to the journal and to a file, by a thread that may be
//! late without holding up anybody, and no more of one stranger's than anybody wants to read.

#![forbid(unsafe_code)]

mod file;
mod journal;
mod limit;
mod queue;

pub use file::EventFile;
pub use journal::Journal;
pub use limit::{SourceLimit, WINDOW, largest};
pub use queue::Queue;
