//! `relay`: hands balancers' connections on to sshd; `relay-connection`: not for people, one of them.

use super::exit::Failure;
use super::run::{chain, log};
use super::{Common, Exit};
use crate::relay::{self, Order, RelayError};
use clap::Args;
use rustix::fd::AsFd;
use std::net::TcpStream;
use std::path::PathBuf;

/// What the process of a connection is started with.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The port of the node's own sshd
    #[arg(long)]
    login_port: u16,
    /// It is one of a trusted relay's
    #[arg(long)]
    steered: bool,
    /// Where the agent's sockets are
    #[arg(long)]
    runtime_dir: PathBuf,
}

pub(super) fn relay(common: &Common) -> Result<Exit, Failure> {
    log().map_err(Failure::unavailable)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Failure::unavailable)?.block_on(relay::run(&common.config)) {
        Ok(()) => Ok(Exit::Done),
        Err(error @ (RelayError::Config(_) | RelayError::NoPort)) => Err(Failure::usage(error)),
        Err(error) => Err(Failure::unavailable(chain(&error))),
    }
}

/// Serves the connection that is its standard input.
pub(super) fn connection(options: Options) -> Result<Exit, Failure> {
    let outer = std::io::stdin().as_fd().try_clone_to_owned().map_err(Failure::unavailable)?;
    let Options { login_port, steered, runtime_dir } = options;
    let order = Order { login_port, is_steered: steered, runtime_dir };
    let outer = TcpStream::from(outer);
    let peer = outer.peer_addr().map_err(Failure::unavailable)?;
    match relay::serve(outer, &order) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(Failure::unavailable(format!("relay: {peer}: {error}"))),
    }
}
