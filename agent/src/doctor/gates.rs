//! Gates: ports that the node's own connections may get as well.

use std::collections::BTreeSet;
use std::fs;

use super::{Finding, Node};
use crate::config::Gate;

/// The ports that the kernel gives to connections which ask for none (ip-sysctl, `ip_local_port_range`).
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Those among them that it does not give (ip-sysctl, `ip_local_reserved_ports`).
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/// No more ports are told of than this.
const TOLD: usize = 8;

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let Ok(config) = &node.config else { return Vec::new() };
    let (Ok(range), Ok(reserved)) = (fs::read_to_string(RANGE), fs::read_to_string(RESERVED)) else {
        return Vec::new();
    };
    if config.gates.is_empty() { Vec::new() } else { vec![finding(&config.gates, &range, &reserved)] }
}

fn finding(gates: &[Gate], range: &str, reserved: &str) -> Finding {
    let given = given(range, reserved);
    let gated: BTreeSet<u16> = gates.iter().flat_map(|gate| gate.numbers.iter().copied()).collect();
    let shared: Vec<String> = gated.intersection(&given).map(u16::to_string).collect();
    if shared.is_empty() {
        return Finding::ok("gates", "no gate stands before a port that the node's own connections get");
    }
    let more = if shared.len() > TOLD { format!(" and {} more", shared.len() - TOLD) } else { String::new() };
    let ports = shared.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", ");
    let what = format!(
        "the kernel may give port {ports}{more}, before which a gate stands, to a connection of the node's own: what \
         comes back to it is dropped"
    );
    // The setting is one list: what is reserved already stays so.
    let all = Some(reserved.trim()).filter(|reserved| !reserved.is_empty()).into_iter();
    let all = all.chain(shared.iter().map(String::as_str)).collect::<Vec<_>>().join(",");
    let remedy =
        format!("reserve what is gated: sysctl -w net.ipv4.ip_local_reserved_ports={all} (sysctl.d(5))");
    Finding::warning("gate-port-shared", what, remedy)
}

/// The ports that the kernel gives away, of its range such as `32768 60999`, without the reserved ones such as `8080,9000-9010`.
fn given(range: &str, reserved: &str) -> BTreeSet<u16> {
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<u16>().ok());
    let (Some(first), Some(last)) = (ends.next(), ends.next()) else { return BTreeSet::new() };
    let reserved = reserved.trim().split(',').filter_map(|entry| {
        let (from, to) = entry.split_once('-').unwrap_or((entry, entry));
        Some(from.parse::<u16>().ok()?..=to.parse::<u16>().ok()?)
    });
    let reserved: BTreeSet<u16> = reserved.flatten().collect();
    (first..=last).filter(|port| !reserved.contains(port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GatedProtocol;
    use crate::doctor::Level;

    #[test]
    fn gated_ports_of_the_kernels_range_are_told_unless_they_are_reserved() {
        let gate = Gate { numbers: vec![5432, 40_000, 50_000], protocol: GatedProtocol::Any, roles: None };
        let shared = finding(std::slice::from_ref(&gate), "32768\t60999\n", "40000-40010\n");
        assert_eq!((shared.id, shared.level), ("gate-port-shared", Level::Warning));
        assert!(shared.what.contains("port 50000,") && !shared.what.contains("40000"), "{}", shared.what);
        let remedy = shared.remedy.unwrap_or_default();
        assert!(remedy.contains("=40000-40010,50000 "), "{remedy}");
        let right = finding(&[gate], "32768 60999", "8080,40000,49000-51000");
        assert_eq!(right.level, Level::Ok);
    }
}
