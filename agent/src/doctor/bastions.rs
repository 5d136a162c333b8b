//! Whether what bastions connect comes to the relay, and whether nodes hear of this bastion's own users.

use super::{Finding, Node};
use crate::config::{Config, TrustedRelay};
use crate::daemon::call::{RelayStatus, VouchingStatus};

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let (Ok(config), Ok(status)) = (&node.config, &node.status) else { return Vec::new() };
    let mut found = Vec::new();
    if !config.trusted_relays.is_empty() {
        found.extend(status.relay.as_ref().map(steered));
        found.extend(shut_out(config));
    }
    found.extend(status.vouching.as_ref().map(vouching));
    found
}

/// Whether what comes from bastions is led to a relay that is there.
fn steered(relay: &RelayStatus) -> Finding {
    const ID: &str = "bastions";
    if let Some(error) = &relay.steer_error {
        let what = format!("what comes from bastions is not led to the relay: {error}");
        return Finding::error(ID, what, "systemctl restart cotter-agent");
    }
    if relay.listens.is_empty() {
        return Finding::error(
            ID,
            "no relay is there for what bastions connect: nobody who has a certificate gets in by them",
            "systemctl enable --now cotter-relay; if it runs: systemctl restart cotter-relay",
        );
    }
    Finding::ok(ID, format!("what {} connects is led to the relay", relay.bastions.join(", ")))
}

/// A gate before sshd that opens to users does not open to the bastion which they come by.
fn shut_out(config: &Config) -> Option<Finding> {
    let port = config.gated_login_ports().next()?;
    let is_spared = |relay: &&TrustedRelay| {
        relay.addresses.iter().all(|ours| config.never_drop.iter().any(|spared| spared.contains(ours)))
    };
    let relay = config.trusted_relays.iter().find(|relay| !is_spared(relay))?;
    Some(Finding::warning(
        "bastions-gate",
        format!(
            "the gate before login port {port} keeps relay {} out, and everybody who comes by it",
            relay.name
        ),
        "add its addresses to never_drop: who comes by it is judged all the same",
    ))
}

/// Whether nodes hear whose this bastion's connections are.
fn vouching(vouching: &VouchingStatus) -> Finding {
    const ID: &str = "vouching";
    match &vouching.error {
        None => {
            Finding::ok(ID, format!("this bastion vouches for its users at {}", vouching.nodes.join(", ")))
        }
        Some(error) => Finding::warning(
            ID,
            format!("the latest statement did not count: {error}"),
            "see there: cotter-agent doctor, and its [[trusted_relay]] for this bastion (cotter-agent relay-key)",
        ),
    }
}
