//! Where a rule of the firewall sends packets, and whether that is a login port of this node.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Ports, the first and the last.
pub(super) type Ports = (u16, u16);
/// Addresses, the first and the last.
pub(super) type Addresses = (IpAddr, IpAddr);

/// Every port.
pub(super) const ALL: Ports = (0, u16::MAX);

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
    /// The TCP ports that the rule is for: [`ALL`], or none if it is for other protocols. `None` if they cannot be told.
    pub(super) from: Option<Vec<Ports>>,
}

impl Redirection {
    /// Whether it may end at one of these ports of this node, whose addresses may be unknown.
    pub(super) fn reaches(&self, local: Option<&BTreeSet<IpAddr>>, login_ports: &[u16]) -> Reach {
        let has_login_port = |ports: &Vec<Ports>| {
            ports.iter().any(|(first, last)| login_ports.iter().any(|port| (first..=last).contains(&port)))
        };
        let here = match &self.addresses {
            To::Own => Reach::Yes,
            To::Unclear => Reach::Perhaps,
            To::These(all) => all.iter().map(|range| is_in(*range, local)).max().unwrap_or(Reach::No),
        };
        let port = match (&self.ports, &self.from) {
            (_, Some(from)) if from.is_empty() => Reach::No,
            (To::Own, Some(from)) => has_login_port(from).into(),
            (To::Own, None) | (To::Unclear, _) => Reach::Perhaps,
            (To::These(ports), _) => has_login_port(ports).into(),
        };
        here.min(port)
    }
}

/// Whether one of these addresses is local. iptables takes a range whose first address is greater than its last; what
/// the kernel makes of that cannot be told.
fn is_in((first, last): Addresses, local: Option<&BTreeSet<IpAddr>>) -> Reach {
    let loopback: Addresses = (Ipv4Addr::new(127, 0, 0, 0).into(), Ipv4Addr::new(127, 255, 255, 255).into());
    match local {
        _ if first > last => Reach::Perhaps,
        _ if first <= loopback.1 && last >= loopback.0 => Reach::Yes,
        Some(local) => local.range(first..=last).next().is_some().into(),
        None => Reach::Perhaps,
    }
}

/// The ports that are in both.
pub(super) fn in_both(some: &[Ports], others: &[Ports]) -> Vec<Ports> {
    let pairs =
        some.iter().flat_map(|one| others.iter().map(move |other| (one.0.max(other.0), one.1.min(other.1))));
    pairs.filter(|(first, last)| first <= last).collect()
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
        Redirection { rule: String::new(), addresses, ports, from }.reaches(Some(&local), &[22])
    }

    fn these(first: &str, last: &str) -> To<Addresses> {
        To::These(vec![(first.parse().unwrap(), last.parse().unwrap())])
    }

    #[test]
    fn only_what_ends_at_a_login_port_of_this_node_counts() {
        let node = || these("198.51.100.10", "198.51.100.10");
        assert_eq!(to(To::Own, To::These(vec![(22, 22)]), Some(&[(2222, 2222)])), Reach::Yes);
        assert_eq!(to(node(), To::These(vec![(20, 25)]), None), Reach::Yes);
        assert_eq!(to(these("127.0.0.2", "127.0.0.2"), To::These(vec![(22, 22)]), None), Reach::Yes);
        assert_eq!(to(these("0.0.0.0", "126.255.255.255"), To::These(vec![(22, 22)]), None), Reach::No);
        assert_eq!(to(these("198.51.100.1", "198.51.100.99"), To::Own, Some(&[(22, 22)])), Reach::Yes);
        assert_eq!(to(node(), To::Own, Some(&[ALL])), Reach::Yes);
        assert_eq!(to(these("172.17.0.2", "172.17.0.2"), To::These(vec![(22, 22)]), None), Reach::No);
        assert_eq!(to(these("::", "ffff::"), To::Own, Some(&[ALL])), Reach::No);
        assert_eq!(to(To::Own, To::These(vec![(80, 80)]), Some(&[(22, 22)])), Reach::No);
        assert_eq!(to(To::Own, To::These(vec![(22, 22)]), Some(&[])), Reach::No);
        assert_eq!(to(To::Own, To::Unclear, Some(&[])), Reach::No);
        assert_eq!(to(node(), To::Own, Some(&[(80, 80), (443, 443)])), Reach::No);
    }

    #[test]
    fn what_cannot_be_told_is_perhaps_unless_the_rest_rules_it_out() {
        assert_eq!(to(To::Unclear, To::These(vec![(22, 22)]), None), Reach::Perhaps);
        assert_eq!(to(To::Own, To::Unclear, None), Reach::Perhaps);
        assert_eq!(to(To::Own, To::Own, None), Reach::Perhaps);
        assert_eq!(to(these("198.51.100.99", "198.51.100.1"), To::Own, Some(&[ALL])), Reach::Perhaps);
        assert_eq!(to(To::Unclear, To::These(vec![(80, 80)]), None), Reach::No);
        assert_eq!(to(these("172.17.0.2", "172.17.0.2"), To::Unclear, None), Reach::No);
    }

    #[test]
    fn addresses_of_a_node_that_does_not_tell_its_own_are_perhaps_here() {
        let to =
            |addresses| Redirection { rule: String::new(), addresses, ports: To::Own, from: Some(vec![ALL]) };
        let reach = |addresses| to(addresses).reaches(None, &[22]);
        assert_eq!(reach(these("172.17.0.2", "172.17.0.2")), Reach::Perhaps);
        assert_eq!(reach(these("127.0.0.1", "127.0.0.1")), Reach::Yes);
    }

    #[test]
    fn ports_in_both_are_those_that_are_left() {
        assert_eq!(in_both(&[(20, 30), (80, 80)], &[(25, 90)]), [(25, 30), (80, 80)]);
        assert!(in_both(&[(20, 30)], &[(31, 40)]).is_empty());
    }

    #[test]
    fn all_but_some_are_the_others() {
        assert_eq!(all_but(&[(22, 22)]), [(0, 21), (23, 65535)]);
        assert_eq!(all_but(&[(100, 200), (0, 9), (150, 160)]), [(10, 99), (201, 65535)]);
        assert!(all_but(&[(0, 65535), (5, 6)]).is_empty());
    }
}
