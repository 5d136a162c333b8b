//! Whether knocks are heard, and are for the host keys by which sshd shows itself.

use std::collections::BTreeSet;

use cotter_knock::Fingerprint;

use super::sshd::Sshd;
use super::{Finding, Node};
use crate::config::Knocks;
use crate::daemon::call::KnocksStatus;

const HOST_KEYS: &str = "knock-host-keys";

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let Some(knocks) = node.config.as_ref().ok().and_then(|config| config.knocks.as_ref()) else {
        return Vec::new();
    };
    let heard = node.status.as_ref().ok().map(|status| heard(status.knocks.as_ref()));
    let keys = node.sshd.as_ref().ok().map(|sshd| host_keys(knocks, sshd));
    heard.into_iter().chain(keys.into_iter().flatten()).collect()
}

fn heard(status: Option<&KnocksStatus>) -> Finding {
    const ID: &str = "knock";
    match status {
        None => Finding::error(ID, "the agent does not hear knocks yet", "systemctl restart cotter-agent"),
        Some(KnocksStatus { error: Some(error), left_open, .. }) => {
            let open = if left_open.is_empty() { "" } else { "; until then sshd is open to everybody" };
            Finding::error(
                ID,
                format!("knocks are not heard: {error}{open}"),
                "the agent tries again every few seconds",
            )
        }
        Some(KnocksStatus { port, tcp: false, .. }) => {
            Finding::ok(ID, format!("knocks are heard at UDP port {port}; nothing answers there"))
        }
        Some(KnocksStatus { port, tcp: true, .. }) => Finding::ok(
            ID,
            format!("knocks are heard at UDP and TCP port {port}; TCP answers whoever connects"),
        ),
    }
}

/// Clients take a host key that they know the node by.
fn host_keys(knocks: &Knocks, sshd: &Sshd) -> Vec<Finding> {
    let ours: BTreeSet<Fingerprint> = knocks.host_keys.iter().copied().collect();
    if ours.is_empty() {
        let what = "there is no host key that a knock could be for";
        return vec![Finding::error(
            HOST_KEYS,
            what,
            "name them in agent.toml ([knock] host_keys), or reload the agent",
        )];
    }
    let theirs: BTreeSet<Fingerprint> =
        sshd.ordinary().values("hostkey").filter_map(|file| public(&format!("{file}.pub"))).collect();
    let unheard = theirs.difference(&ours).map(|key| {
        let what = format!(
            "sshd has the host key {key}, and the agent does not: who knows the node by it knocks in vain"
        );
        Finding::warning(HOST_KEYS, what, "name it in agent.toml ([knock] host_keys), or reload the agent")
    });
    let unknown = ours.difference(&theirs).filter(|_| !theirs.is_empty()).map(|key| {
        let what = format!("knocks may be for the host key {key}, which sshd does not have");
        Finding::warning(
            HOST_KEYS,
            what,
            "take it out of agent.toml ([knock] host_keys), or reload the agent",
        )
    });
    let found: Vec<Finding> = unheard.chain(unknown).collect();
    if found.is_empty() { vec![Finding::ok(HOST_KEYS, "knocks are for sshd's host keys")] } else { found }
}

/// The key in a file of one, where that can be told.
fn public(file: &str) -> Option<Fingerprint> {
    Fingerprint::of_line(&std::fs::read_to_string(file).ok()?).ok()
}
