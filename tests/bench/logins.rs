//! Logins with and without the agent: the same sshd, the same certificates, on two nodes that are alike but for it.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::node::Node;

/// How long a login takes from the client's start to its end, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logins {
    /// Where a shell script prints the principal.
    pub(crate) script: f64,
    /// Where the agent judges it.
    pub(crate) agent: f64,
}

/// Measures one login on each node, to a new sshd; the order changes with the rounds.
pub(crate) fn round(round: usize, script: &mut Node, agent: &mut Node) -> Result<Logins> {
    for node in [&mut *script, &mut *agent] {
        node.restart_sshd(60 + round)?;
    }
    if round.is_multiple_of(2) {
        Ok(Logins { script: once(script)?, agent: once(agent)? })
    } else {
        let agent = once(agent)?;
        Ok(Logins { script: once(script)?, agent })
    }
}

/// One login; sshd has all the time it wants to clean up behind it.
fn once(node: &Node) -> Result<f64> {
    let login = node.login();
    let start = Instant::now();
    login.succeed("true")?;
    let elapsed = start.elapsed();
    node.settle()?;
    Ok(milliseconds(elapsed))
}

/// A time as the figures have it.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
