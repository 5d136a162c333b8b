//! What sshd and PAM run at a login, and what that shares with the agent.
//!
//! The agent uses [`protocol`] to answer, [`monitor`] and [`connection`] to find out who asks and about which
//! connection, [`mode_file`] to tell the hook what counts when the agent is silent, and [`unmanaged`] to learn
//! what the hook let pass meanwhile. Everything here is synchronous, small and without a runtime.

pub mod break_glass;
pub mod client;
pub mod connection;
pub mod fallback;
pub mod mode_file;
pub mod monitor;
pub mod principals_file;
pub mod process;
pub mod protocol;
pub mod syslog;
pub mod trusted_file;
pub mod unmanaged;
