//! Firewalls that have a set of addresses, to compare with: all but those are dropped at a port.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::Result;
use lab::{ALICE, Place};

const RULES: &str = "/run/firewall";

/// nftables where packets come in, before anything else of the network stack.
pub(crate) fn nft_ingress(node: &Place, port: u16, granted: &[Ipv4Addr]) -> Result<()> {
    let hook = format!("ingress device \"{}\" priority -300", ALICE.device);
    nft(node, "netdev", &hook, port, granted)
}

/// nftables as early as IPv4 knows of a packet.
pub(crate) fn nft_prerouting(node: &Place, port: u16, granted: &[Ipv4Addr]) -> Result<()> {
    nft(node, "ip", "prerouting priority -300", port, granted)
}

fn nft(node: &Place, family: &str, hook: &str, port: u16, granted: &[Ipv4Addr]) -> Result<()> {
    // A set that is told its size is the fastest that nftables has.
    let (size, members) = (granted.len(), listed(granted, ", "));
    let rules = format!(
        "table {family} gate {{\n\
         set granted {{ type ipv4_addr; size {size}; elements = {{ {members} }}\n}}\n\
         chain gate {{ type filter hook {hook}; tcp dport {port} ip saddr != @granted drop\n}}\n}}\n"
    );
    node.write(RULES, &rules)?;
    node.run("nft", &["-f", RULES]).map(drop)
}

/// iptables with ipset, before connections are tracked.
pub(crate) fn ipset(node: &Place, port: u16, granted: &[Ipv4Addr]) -> Result<()> {
    let mut set = format!("create granted hash:ip hashsize {0} maxelem {0}\n", granted.len());
    for address in granted {
        writeln!(set, "add granted {address}")?;
    }
    node.write(RULES, &set)?;
    node.run("ipset", &["restore", "-file", RULES])?;
    let port = port.to_string();
    let to_port = ["-t", "raw", "-A", "PREROUTING", "-p", "tcp", "--dport", &port];
    let of_others = ["-m", "set", "!", "--match-set", "granted", "src", "-j", "DROP"];
    node.run("iptables", &[to_port.as_slice(), &of_others].concat()).map(drop)
}

fn listed(addresses: &[Ipv4Addr], between: &str) -> String {
    addresses.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(between)
}
