//! Rules of the firewall that send packets on to a login port. The programs see a packet before such a rule does: with
//! another port or address in it, so nothing holds who logs in by it.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use super::{Finding, Node, PATIENCE, iptables, nft};
use crate::command;
use crate::interfaces;

/// Where a rule sends packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The rule, as far as it is to be told.
    pub(super) rule: String,
    /// Addresses, as far as they are to be told; `None`: this node's own.
    pub(super) addresses: Option<Vec<IpAddr>>,
    /// Ports, first and last of each range; none: the one that the packet has, see `from`.
    pub(super) ports: Vec<(u16, u16)>,
    /// Ports that the rule is for; none: all.
    pub(super) from: Vec<(u16, u16)>,
}

impl Target {
    /// Whether it may be one of these ports of this node.
    fn reaches(&self, local: &BTreeSet<IpAddr>, login_ports: &[u16]) -> bool {
        let is_local = |addresses: &Vec<IpAddr>| addresses.iter().any(|address| local.contains(address));
        let here = self.addresses.as_ref().is_none_or(is_local);
        let ports = if self.ports.is_empty() { &self.from } else { &self.ports };
        let fits =
            |port: &u16| ports.is_empty() || ports.iter().any(|(first, last)| (first..=last).contains(&port));
        here && login_ports.iter().any(fits)
    }
}

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    const ID: &str = "redirected-port";
    let Ok(config) = &node.config else { return Vec::new() };
    if !node.is_open() {
        return Vec::new();
    }
    let local = interfaces::list().map(|all| interfaces::addresses(&all)).unwrap_or_default();
    let mut found = Vec::new();
    for (program, asked) in [
        ("nft", ask_nft()),
        ("iptables-save", ask_iptables("iptables-save")),
        ("ip6tables-save", ask_iptables("ip6tables-save")),
    ] {
        match asked {
            Ok(targets) => {
                let reaching = targets.iter().filter(|target| target.reaches(&local, &config.login_ports));
                found.extend(reaching.map(|target| {
                    let what = format!(
                        "{program} has a rule that sends others' packets to a login port: {}",
                        target.rule
                    );
                    let remedy = "have sshd listen on that port itself, and name it in login_ports";
                    Finding::error(ID, what, remedy)
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let what = format!("the firewall's rules cannot be read: {program}: {error}");
                found.push(Finding::warning(
                    "firewall",
                    what,
                    "see that no rule sends packets to a login port",
                ));
            }
        }
    }
    if found.is_empty() {
        found.push(Finding::ok(ID, "no rule of nft or iptables sends packets to a login port"));
    }
    found
}

fn ask_nft() -> io::Result<Vec<Target>> {
    let printed = command::text(installed("nft")?.args(["--json", "list", "ruleset"]), PATIENCE)?;
    nft::targets(&printed).map_err(io::Error::other)
}

/// All tables that are there: to ask for one by name would make it.
fn ask_iptables(program: &str) -> io::Result<Vec<Target>> {
    let printed = command::text(&mut installed(program)?, PATIENCE)?;
    Ok(iptables::targets(&printed))
}

/// The program where administrators' programs are, whatever `PATH` the caller has.
fn installed(program: &str) -> io::Result<Command> {
    let places = ["/usr/sbin", "/sbin", "/usr/bin"].map(|place| Path::new(place).join(program));
    places.iter().find(|path| path.exists()).map(Command::new).ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(addresses: Option<&[&str]>, ports: &[(u16, u16)], from: &[(u16, u16)]) -> Target {
        let addresses = addresses.map(|all| all.iter().map(|one| one.parse().unwrap()).collect());
        Target { rule: String::new(), addresses, ports: ports.into(), from: from.into() }
    }

    #[test]
    fn only_what_ends_at_a_login_port_of_this_node_counts() {
        let local = BTreeSet::from(["198.51.100.10".parse().unwrap()]);
        let reaches = |target: Target| target.reaches(&local, &[22]);
        assert!(reaches(target(None, &[(22, 22)], &[(2222, 2222)])));
        assert!(reaches(target(Some(&["198.51.100.10"]), &[(20, 25)], &[])));
        assert!(reaches(target(Some(&["198.51.100.10"]), &[], &[(22, 22)])));
        assert!(reaches(target(Some(&["198.51.100.10"]), &[], &[])));
        assert!(!reaches(target(Some(&["172.17.0.2"]), &[(22, 22)], &[(2222, 2222)])));
        assert!(!reaches(target(Some(&[]), &[(22, 22)], &[])), "of a named map it cannot be told");
        assert!(!reaches(target(None, &[(80, 80)], &[(22, 22)])));
        assert!(!reaches(target(Some(&["198.51.100.10"]), &[], &[(80, 80), (443, 443)])));
    }
}
