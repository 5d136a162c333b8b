//! Whether what balancers and bastions connect gets to sshd, and nobody else gets there that way.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use super::listener::Listener;
use super::{Finding, Node};
use crate::config::RelayPort;
use crate::connections;
use crate::interfaces::{self, detour};

/// Whether a device's packets may be for loopback (ip-sysctl, `route_localnet`); of each device, and of `all`.
const DEVICES: &str = "/proc/sys/net/ipv4/conf";

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let Ok(config) = &node.config else { return Vec::new() };
    let relays = &config.relay_ports;
    let login_ports: BTreeSet<u16> = config.relayed_to().collect();
    if login_ports.is_empty() {
        return Vec::new();
    }
    let error = node.status.as_ref().ok().and_then(|status| status.relay.as_ref()?.error.as_deref());
    let mut found = vec![way_back(&login_ports, error)];
    found.extend(relays.iter().filter_map(listens));
    found.extend(trust(relays).filter(|_| !relays.is_empty()));
    found.extend(node.listeners.as_ref().map(|listeners| on_loopback(&login_ports, listeners)));
    found.extend(from_outside());
    found
}

/// Whether sshd's answers find back to the relay.
fn way_back(login_ports: &BTreeSet<u16>, error: Option<&str>) -> Finding {
    const ID: &str = "relay-routes";
    let there = match detour::ports() {
        Ok(there) => there,
        Err(error) => {
            let what = format!("the rules of routing cannot be listed: {error}");
            return Finding::warning(ID, what, "run doctor as root");
        }
    };
    match login_ports.iter().find(|port| !there.contains(port)) {
        None => Finding::ok(ID, "what sshd answers to relayed connections finds back to the relay"),
        Some(port) => {
            let why = error.map(|error| format!(": {error}")).unwrap_or_default();
            let what =
                format!("no rule leads what sshd answers from loopback, port {port}, back to the relay{why}");
            let remedy =
                format!("systemctl reload cotter-agent, and see: ip rule show | grep {}", detour::TABLE);
            Finding::error(ID, what, remedy)
        }
    }
}

/// Whether the relay is there; `None` if that cannot be told.
fn listens(relay: &RelayPort) -> Option<Finding> {
    const ID: &str = "relay";
    let port = relay.port;
    Some(match connections::is_listened_at(port).ok()? {
        true => Finding::ok(ID, format!("balancers are listened to at port {port}")),
        false => Finding::error(
            ID,
            format!("nobody listens at port {port}, where balancers connect"),
            "systemctl enable --now cotter-relay; if it runs: systemctl restart cotter-relay",
        ),
    })
}

/// Whether the node itself is trusted to say where users are; `None` if its addresses are not known.
fn trust(relays: &[RelayPort]) -> Option<Finding> {
    const ID: &str = "relay-trust";
    let own = interfaces::addresses(&interfaces::list().ok()?);
    let named = relays.iter().flat_map(|relay| own.iter().filter(|own| relay.names((**own).into())));
    Some(match named.into_iter().next() {
        None => Finding::ok(ID, "nobody on the node itself is believed where users are"),
        Some(own) => Finding::warning(
            ID,
            format!(
                "trusted_proxies names {own}, which is the node's own: who has an account here can claim to be anywhere"
            ),
            "let the balancer run elsewhere, or give nobody an account or a forwarded port here",
        ),
    })
}

/// Whether sshd is where the relay connects.
fn on_loopback(login_ports: &BTreeSet<u16>, listeners: &[Listener]) -> Finding {
    const ID: &str = "relay-sshd";
    let is_there = |port: u16, ip: fn(IpAddr) -> bool| {
        listeners.iter().any(|listener| listener.address.port() == port && ip(listener.address.ip()))
    };
    // What listens at [::] takes IPv4 as well, unless it was told not to; sshd then has a listener for each.
    let v4 = |ip: IpAddr| ip.is_unspecified() || ip.is_ipv4() && ip.is_loopback();
    let v6 = |ip: IpAddr| ip.is_ipv6() && (ip.is_unspecified() || ip.is_loopback());
    for &port in login_ports {
        let has_v6 = is_there(port, |ip| ip.is_ipv6());
        for (loopback, is_at) in [("127.0.0.1", v4 as fn(IpAddr) -> bool), ("::1", v6)] {
            // A node without IPv6 has no users there.
            if (loopback == "127.0.0.1" || has_v6) && !is_there(port, is_at) {
                let what =
                    format!("sshd does not listen on {loopback}, port {port}, where the relay connects");
                return Finding::error(ID, what, format!("add it to sshd_config: ListenAddress {loopback}"));
            }
        }
    }
    Finding::ok(ID, "sshd listens where the relay connects")
}

/// Whether the stack would take packets from outside for the relay's own.
fn from_outside() -> Option<Finding> {
    const ID: &str = "relay-outside";
    let mut open: Vec<String> = fs::read_dir(DEVICES)
        .ok()?
        .flatten()
        .filter(|device| {
            fs::read_to_string(device.path().join("route_localnet")).is_ok_and(|value| value.trim() != "0")
        })
        .map(|device| device.file_name().to_string_lossy().into_owned())
        .collect();
    open.sort_unstable();
    Some(match open.first() {
        None => Finding::ok(ID, "nobody reaches loopback from outside"),
        Some(device) => Finding::warning(
            ID,
            format!("what comes by {device} may be for loopback, where the relay connects to sshd"),
            format!("sysctl -w net.ipv4.conf.{device}.route_localnet=0"),
        ),
    })
}
