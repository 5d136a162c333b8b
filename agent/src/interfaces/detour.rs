//! What brings sshd's answers to relayed connections back to the relay: they go to users' own addresses, and would leave by
//! the network otherwise (ip-rule(8), ip-route(8)).
//!
//! sshd answers from loopback, where the relay has connected. Nothing else that leaves from there goes anywhere but to the
//! node itself, for which the kernel's local table comes first, so a rule by that source and sshd's port is nobody else's.

use super::netlink::{attribute as attribute_of, change_with, dump};
use rustix::io::Errno;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The routing table that the rules lead to.
pub const TABLE: u32 = 22_022;
/// Their priority: behind the kernel's local table, before what others may have put there for all packets, as VPNs do.
const PRIORITY: u32 = 22;

/// `RTM_NEWROUTE`, `RTM_DELROUTE`; both take an `rtmsg`.
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
/// `RTM_NEWRULE`, `RTM_DELRULE`, `RTM_GETRULE`; all take a `fib_rule_hdr`.
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;
const GET_RULE: u16 = 34;
/// `NLM_F_CREATE | NLM_F_EXCL`: fails where it is there already.
const ANEW: u16 = 0x600;

/// The first device of every network namespace.
const LOOPBACK: u32 = 1;
const TCP: u8 = 6;

/// An address family, by its loopback address.
const FAMILIES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Leads what sshd sends from these ports of loopback to users' addresses back to the node; of other ports no longer.
///
/// # Errors
/// The kernel refused it.
pub fn set(ports: &[u16]) -> io::Result<()> {
    for loopback in FAMILIES {
        match set_for(loopback, ports) {
            // A node without IPv6 has no users there. Where the kernel has no rules at all, there are none to take away.
            Err(error) if is_missing(&error) && (loopback.is_ipv6() || ports.is_empty()) => {}
            other => other?,
        }
    }
    Ok(())
}

/// The ports for which it is set, of both families where the node has both.
///
/// # Errors
/// The rules cannot be listed.
pub fn ports() -> io::Result<Vec<u16>> {
    let [v4, v6] = FAMILIES.map(|loopback| match rules(loopback) {
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        other => other,
    });
    let (mut v4, v6) = (v4?, v6?);
    if !v6.is_empty() {
        v4.retain(|port| v6.contains(port));
    }
    Ok(v4)
}

fn set_for(loopback: IpAddr, ports: &[u16]) -> io::Result<()> {
    let there = rules(loopback)?;
    if !ports.is_empty() {
        unless_there(change_with(NEW_ROUTE, ANEW, &route(loopback)))?;
    }
    for port in ports.iter().filter(|port| !there.contains(port)) {
        unless_there(change_with(NEW_RULE, ANEW, &rule(loopback, *port)))?;
    }
    for port in there.iter().filter(|port| !ports.contains(port)) {
        unless_gone(change_with(DELETE_RULE, 0, &rule(loopback, *port)))?;
    }
    if ports.is_empty() && !there.is_empty() {
        unless_gone(change_with(DELETE_ROUTE, 0, &route(loopback)))?;
    }
    Ok(())
}

fn unless_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::SRCH)) => Ok(()),
        other => other,
    }
}

fn is_missing(error: &io::Error) -> bool {
    // The last where it is there, and switched off for all devices (ip-sysctl, `disable_ipv6`).
    let missing = [Errno::AFNOSUPPORT, Errno::OPNOTSUPP, Errno::NODEV, Errno::ACCESS];
    Errno::from_io_error(error).is_some_and(|error| missing.contains(&error))
}

const fn family(loopback: IpAddr) -> u8 {
    // `AF_INET`, `AF_INET6`.
    if loopback.is_ipv4() { 2 } else { 10 }
}

/// `local default dev lo table TABLE`.
fn route(loopback: IpAddr) -> Vec<u8> {
    const STATIC: u8 = 4;
    const HOST: u8 = 254;
    const LOCAL: u8 = 2;
    const OIF: u16 = 4;
    const RTA_TABLE: u16 = 15;

    let mut message = vec![family(loopback), 0, 0, 0, 0, STATIC, HOST, LOCAL, 0, 0, 0, 0];
    attribute(&mut message, OIF, &LOOPBACK.to_ne_bytes());
    attribute(&mut message, RTA_TABLE, &TABLE.to_ne_bytes());
    message
}

/// `from LOOPBACK ipproto tcp sport PORT lookup TABLE`.
fn rule(loopback: IpAddr, port: u16) -> Vec<u8> {
    const TO_TABLE: u8 = 1;
    const SOURCE: u16 = 2;
    const FRA_PRIORITY: u16 = 6;
    const FRA_TABLE: u16 = 15;
    const ORIGIN: u16 = 21;
    const PROTOCOL: u16 = 22;
    /// `RTPROT_KERNEL`: of others' rules systemd-networkd takes away all but those (networkd.conf(5)).
    const KERNEL: u8 = 2;

    let source = octets(loopback);
    let length = (source.len() * 8) as u8;
    let mut message = vec![family(loopback), 0, length, 0, 0, 0, 0, TO_TABLE, 0, 0, 0, 0];
    attribute(&mut message, SOURCE, &source);
    attribute(&mut message, FRA_PRIORITY, &PRIORITY.to_ne_bytes());
    attribute(&mut message, FRA_TABLE, &TABLE.to_ne_bytes());
    attribute(&mut message, ORIGIN, &[KERNEL]);
    attribute(&mut message, PROTOCOL, &[TCP]);
    attribute(&mut message, SOURCE_PORTS, &[port.to_ne_bytes(), port.to_ne_bytes()].concat());
    message
}

/// `FRA_SPORT_RANGE`: the first and the last port.
const SOURCE_PORTS: u16 = 23;

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Appends one (netlink(7)): length, type, value, padding.
fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = 4 + value.len();
    message.extend((length as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// The ports of our rules: by all that they are known by, for somebody else may use that table as well.
fn rules(loopback: IpAddr) -> io::Result<Vec<u16>> {
    const HEADER: usize = 12;
    const SOURCE: u16 = 2;
    const FRA_PRIORITY: u16 = 6;
    const FRA_TABLE: u16 = 15;

    let mut request = [0; HEADER];
    request[0] = family(loopback);
    let mut ports = Vec::new();
    for rule in dump(GET_RULE, &request)? {
        let value = |kind| attribute_of(rule.get(HEADER..).unwrap_or_default(), kind);
        let is_ours = rule.first() == Some(&family(loopback))
            && value(FRA_TABLE) == Some(&TABLE.to_ne_bytes()[..])
            && value(FRA_PRIORITY) == Some(&PRIORITY.to_ne_bytes()[..])
            && value(SOURCE) == Some(&octets(loopback)[..]);
        let port =
            value(SOURCE_PORTS).and_then(|ports| ports.first_chunk()).map(|port| u16::from_ne_bytes(*port));
        ports.extend(port.filter(|_| is_ours));
    }
    Ok(ports)
}
