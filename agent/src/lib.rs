//! The node's agent as a library: `main` runs its command line, the tests its parts.

pub mod audit;
mod budget;
pub mod cli;
mod clock;
mod command;
pub mod config;
pub mod connections;
pub mod daemon;
pub mod datapath;
pub mod doctor;
mod family;
mod farewell;
pub mod interfaces;
mod knock;
mod login;
mod metrics;
pub mod relay;
mod seldom;
pub mod session;
pub mod setup;
mod socket;
mod source;
mod vouching;
