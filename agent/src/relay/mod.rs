//! The relay: takes connections from balancers, and hands them on to the node's sshd with their users' own addresses as
//! sources. A program of its own beside the agent, with a process for each connection, so that restarting either of them
//! breaks none.

mod agent;
mod announcement;
mod call;
mod capabilities;
mod connection;
mod header;
mod listener;
mod offer;
mod passage;
mod splice;
mod steered;

pub use call::{Announcement, Answer, Call, GROUP, Leg, SOCKET, User, Via};
pub use connection::{ConnectionError, Order, serve};
pub use listener::{RelayError, run};
