//! Where a rule of the firewall sends packets, and whether that is a login port of this node.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Ports, the first and the last.
pub(super) type Ports = (u16, u16);
/// Addresses, the first and the last.
pub(super) type Addresses = (IpAddr, IpAddr);

/// What a rule makes of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To<T> {
    /// What it was, or the node's own.
    Own,
    /// Some of these.
    These(Vec<T>),
    /// What cannot be told.
    Unclear,
}

impl<T> From<Option<Vec<T>>> for To<T> {
    fn from(these: Option<Vec<T>>) -> Self {
        these.map_or(Self::Unclear, Self::These)
    }
}

/// Whether packets get somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    No,
    /// It cannot be told.
    Perhaps,
    Yes,
}

impl From<bool> for Reach {
    fn from(reached: bool) -> Self {
        if reached { Self::Yes } else { Self::No }
    }
}

/// A rule that sends packets elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirection {
    /// The rule, as far as it is to be told.
    pub(super) rule: String,
    /// Where it sends them.
    pub(super) addresses: To<Addresses>,
    /// To which port there.
    pub(super) ports: To<Ports>,
    /// Ports that the rule is for, if not all.
    pub(super) from: Option<Vec<Ports>>,
}

impl Redirection {
    /// Whether it may end at one of these ports of this node.
    pub(super) fn reaches(&self, local: &BTreeSet<IpAddr>, login_ports: &[u16]) -> Reach {
        let has_login_port = |ports: &Vec<Ports>| {
            ports.iter().any(|(first, last)| login_ports.iter().any(|port| (first..=last).contains(&port)))
        };
        let here = match &self.addresses {
            To::Own => Reach::Yes,
            To::Unclear => Reach::Perhaps,
            To::These(all) => all.iter().map(|range| is_in(*range, local)).max().unwrap_or(Reach::No),
        };
        let port = match &self.ports {
            To::Own => self.from.as_ref().is_none_or(has_login_port).into(),
            To::Unclear => Reach::Perhaps,
            To::These(ports) => has_login_port(ports).into(),
        };
        here.min(port)
    }
}

/// Whether one of these addresses is local. iptables takes a range whose first address is greater than its last; what
/// the kernel makes of that cannot be told.
fn is_in((first, last): Addresses, local: &BTreeSet<IpAddr>) -> Reach {
    if first > last { Reach::Perhaps } else { local.range(first..=last).next().is_some().into() }
}

/// All ports but these.
pub(super) fn all_but(ports: &[Ports]) -> Vec<Ports> {
    let (mut sorted, mut others, mut next) = (ports.to_vec(), Vec::new(), Some(0));
    sorted.sort_unstable();
    for (first, last) in sorted {
        let Some(begin) = next else { break };
        if first > begin {
            others.push((begin, first - 1));
        }
        next = last.checked_add(1).map(|after| after.max(begin));
    }
    others.extend(next.map(|begin| (begin, u16::MAX)));
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(addresses: To<Addresses>, ports: To<Ports>, from: Option<&[Ports]>) -> Reach {
        let from = from.map(<[_]>::to_vec);
        let local = BTreeSet::from(["198.51.100.10".parse().unwrap()]);
        Redirection { rule: String::new(), addresses, ports, from }.reaches(&local, &[22])
    }

    fn these(first: &str, last: &str) -> To<Addresses> {
        To::These(vec![(first.parse().unwrap(), last.parse().unwrap())])
    }

    #[test]
    fn only_what_ends_at_a_login_port_of_this_node_counts() {
        let node = || these("198.51.100.10", "198.51.100.10");
        assert_eq!(to(To::Own, To::These(vec![(22, 22)]), Some(&[(2222, 2222)])), Reach::Yes);
        assert_eq!(to(node(), To::These(vec![(20, 25)]), None), Reach::Yes);
        assert_eq!(to(these("198.51.100.1", "198.51.100.99"), To::Own, Some(&[(22, 22)])), Reach::Yes);
        assert_eq!(to(node(), To::Own, None), Reach::Yes);
        assert_eq!(to(these("172.17.0.2", "172.17.0.2"), To::These(vec![(22, 22)]), None), Reach::No);
        assert_eq!(to(these("::", "ffff::"), To::Own, None), Reach::No);
        assert_eq!(to(To::Own, To::These(vec![(80, 80)]), Some(&[(22, 22)])), Reach::No);
        assert_eq!(to(node(), To::Own, Some(&[(80, 80), (443, 443)])), Reach::No);
    }

    #[test]
    fn what_cannot_be_told_is_perhaps_unless_the_rest_rules_it_out() {
        assert_eq!(to(To::Unclear, To::These(vec![(22, 22)]), None), Reach::Perhaps);
        assert_eq!(to(To::Own, To::Unclear, None), Reach::Perhaps);
        assert_eq!(to(these("198.51.100.99", "198.51.100.1"), To::Own, None), Reach::Perhaps);
        assert_eq!(to(To::Unclear, To::These(vec![(80, 80)]), None), Reach::No);
        assert_eq!(to(these("172.17.0.2", "172.17.0.2"), To::Unclear, None), Reach::No);
    }

    #[test]
    fn all_but_some_are_the_others() {
        assert_eq!(all_but(&[(22, 22)]), [(0, 21), (23, 65535)]);
        assert_eq!(all_but(&[(100, 200), (0, 9), (150, 160)]), [(10, 99), (201, 65535)]);
        assert!(all_but(&[(0, 65535), (5, 6)]).is_empty());
    }
}
