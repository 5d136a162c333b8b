//! The relay: takes connections from balancers, and hands them on to the node's sshd with their users' own addresses as
//! sources. A program of its own beside the agent, with a process for each connection, so that restarting either of them
//! breaks none.

mod announcement;
mod capabilities;
mod connection;
mod header;
mod listener;
mod passage;
mod splice;

pub use announcement::{Announcement, Answer, GROUP, SOCKET};
pub use connection::{Order, serve};
pub use listener::{RelayError, run};
