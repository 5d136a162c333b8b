//! `cotter`: what people run on their own machines. It logs in at the authority, keeps the certificate, and runs ssh.

#![forbid(unsafe_code)]

/// The command line.
pub mod cli;
/// A key and its certificate.
pub mod credential;
/// Signals that end a command before it is done.
pub mod ending;
/// What an administrator sets for everybody on a machine.
pub mod fleet;
/// The directory of what is remembered.
pub mod home;
/// Knocking at nodes.
pub mod knock;
/// The authorities that are known.
pub mod known;
/// Nodes that want a knock.
pub mod node;
/// Patterns of hosts.
pub mod pattern;
/// The user's ssh-agent.
pub mod ssh_agent;
/// What ssh's arguments are about.
pub mod ssh_arguments;
/// Asking people.
pub mod terminal;
/// Where the authority sees us.
pub mod whereabouts;
