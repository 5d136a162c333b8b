//! Ports: those that sshd listens on, or would, against `login_ports`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use super::{Finding, Node, PATIENCE};
use crate::command;

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let Ok(config) = &node.config else { return Vec::new() };
    let activated = activated();
    let listening: Option<Vec<SocketAddr>> = node.listeners.as_ref().map(|listeners| {
        listeners.iter().map(|listener| listener.address).chain(activated.iter().copied()).collect()
    });
    // With a socket of systemd's, sshd's own list of addresses says nothing.
    let configured = node.sshd.iter().filter(|_| activated.is_empty()).flat_map(|sshd| {
        sshd.ordinary()
            .values("listenaddress")
            .filter_map(|address| address.parse().ok())
            .collect::<Vec<SocketAddr>>()
    });
    let all: Vec<SocketAddr> = configured.chain(listening.iter().flatten().copied()).collect();
    let mut found = unlisted(&all, &config.login_ports);
    found.extend(listening.iter().flat_map(|listening| idle(listening, &config.login_ports)));
    if found.is_empty() {
        found.push(Finding::ok("login-ports", "login_ports names the ports that sshd listens on"));
    }
    found
}

/// Ports of sshd that packets come in by, and that `login_ports` lacks. Loopback is never touched.
fn unlisted(addresses: &[SocketAddr], login_ports: &[u16]) -> Vec<Finding> {
    let ports: BTreeSet<u16> =
        addresses.iter().filter(|address| !address.ip().is_loopback()).map(SocketAddr::port).collect();
    let unlisted = ports.into_iter().filter(|port| !login_ports.contains(port));
    let finding = |port| {
        let what =
            format!("sshd listens on port {port}, which login_ports lacks: nothing holds who logs in there");
        Finding::error("login-port-missing", what, "add it to login_ports in agent.toml")
    };
    unlisted.map(finding).collect()
}

fn idle(listening: &[SocketAddr], login_ports: &[u16]) -> Vec<Finding> {
    let idle = login_ports.iter().filter(|port| !listening.iter().any(|address| address.port() == **port));
    let finding = |port| {
        let what = format!("login_ports names port {port}, and no sshd listens there");
        Finding::warning(
            "login-port-idle",
            what,
            "start sshd, or take the port out of login_ports in agent.toml",
        )
    };
    idle.map(finding).collect()
}

/// The addresses at which systemd listens for sshd.
fn activated() -> Vec<SocketAddr> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Vec::new();
    }
    let mut show = command::program("systemctl");
    show.args(["show", "--property=ActiveState,Listen", "ssh.socket", "sshd.socket"]);
    let shown = command::text(&mut show, PATIENCE).unwrap_or_default();
    active_streams(&shown)
}

/// Of units as `systemctl show` prints them, one paragraph each, the TCP addresses of those that are active.
fn active_streams(shown: &str) -> Vec<SocketAddr> {
    let active = shown.split("\n\n").filter(|unit| unit.lines().any(|line| line == "ActiveState=active"));
    let listen = active.flat_map(|unit| unit.lines().filter_map(|line| line.strip_prefix("Listen=")));
    listen.filter_map(|listen| listen.strip_suffix(" (Stream)")?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_active_sockets_of_systemds_count() {
        let shown = "Listen=[::]:2222 (Stream)\nListen=0.0.0.0:22 (Stream)\nListen=/run/x (Stream)\nActiveState=active\n\n\
                     ActiveState=inactive\nListen=[::]:24 (Stream)\n";
        let ports: Vec<u16> = active_streams(shown).iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [2222, 22]);
        assert!(active_streams("").is_empty());
    }

    #[test]
    fn a_port_on_loopback_alone_is_nobodys_way_in() {
        let addresses: Vec<SocketAddr> = ["127.0.0.1:2222", "[::1]:2222", "0.0.0.0:22", "[2001:db8::1]:2200"]
            .map(|address| address.parse().unwrap())
            .into();
        let ports: Vec<_> = unlisted(&addresses, &[22]).into_iter().map(|finding| finding.what).collect();
        assert_eq!(ports.len(), 1, "{ports:?}");
        assert!(ports[0].contains("port 2200"));
        assert_eq!(idle(&addresses, &[22, 2222, 24]).len(), 1);
    }
}
