//! The network devices and addresses of the current network namespace, read from rtnetlink.
//!
//! sysfs shows the devices of the namespace that it was mounted in, which need not be this one.

pub mod detour;
pub(crate) mod netlink;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::{fmt, io};

use agent_ebpf::Layer;

pub use self::watch::Watch;

/// A network device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index, unique in the namespace.
    pub index: u32,
    /// What its driver calls itself (`veth`, `bridge`, `wireguard`); hardware has no kind.
    pub kind: Option<String>,
    /// The device that it is a port of.
    pub master: Option<u32>,
    /// Whether it is the loopback device.
    pub loopback: bool,
    /// What its packets begin with.
    pub layer: Layer,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The XDP program that it runs, whoever attached it.
    pub xdp: Option<XdpProgram>,
}

/// An XDP program on a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XdpProgram {
    /// The program's id.
    pub id: u32,
    /// Whether the stack runs it in place of the driver.
    pub generic: bool,
}

/// Why `interfaces = "auto"` leaves a device out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeftOut {
    /// Loopback is never touched.
    Loopback,
    /// A container's or virtual machine's end, by its name.
    Virtual,
    /// A port of this bridge or bond, which sees the traffic itself.
    PortOf(String),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => write!(f, "loopback"),
            Self::Virtual => write!(f, "virtual device"),
            Self::PortOf(master) => write!(f, "port of {master}"),
        }
    }
}

/// All devices of the current network namespace, by index.
pub fn list() -> io::Result<Vec<Interface>> {
    let mut interfaces = BTreeMap::new();
    for message in netlink::dump(netlink::GET_LINK, &[0; 16])? {
        if let Some(interface) = netlink::link(&message) {
            interfaces.insert(interface.index, interface);
        }
    }
    for message in netlink::dump(netlink::GET_ADDRESS, &[0; 8])? {
        if let Some((index, address)) = netlink::address(&message)
            && let Some(interface) = interfaces.get_mut(&index)
        {
            interface.addresses.push(address);
        }
    }
    Ok(interfaces.into_values().collect())
}

/// All addresses of these devices: what "for this node" means.
pub fn addresses(interfaces: &[Interface]) -> BTreeSet<IpAddr> {
    interfaces.iter().flat_map(|interface| interface.addresses.iter().copied()).collect()
}

/// Why `interfaces = "auto"` leaves `interface` out; `None` if it covers it.
pub fn left_out(interface: &Interface, all: &[Interface]) -> Option<LeftOut> {
    const VIRTUAL: [&str; 4] = ["veth", "lxc", "cali", "docker"];

    if interface.loopback {
        return Some(LeftOut::Loopback);
    }
    if VIRTUAL.iter().any(|prefix| interface.name.starts_with(prefix)) {
        return Some(LeftOut::Virtual);
    }
    let master = all.iter().find(|other| Some(other.index) == interface.master)?;
    let gathers = matches!(master.kind.as_deref(), Some("bridge" | "bond" | "team" | "openvswitch"));
    gathers.then(|| LeftOut::PortOf(master.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, name: &str, kind: Option<&str>, master: Option<u32>) -> Interface {
        Interface {
            name: name.into(),
            index,
            kind: kind.map(Into::into),
            master,
            loopback: name == "lo",
            layer: Layer::Ethernet,
            addresses: Vec::new(),
            xdp: None,
        }
    }

    #[test]
    fn auto_covers_what_traffic_for_the_node_comes_in_by() {
        let all = [
            interface(1, "lo", None, None),
            interface(2, "eth0", None, Some(4)),
            interface(3, "eth1", None, None),
            interface(4, "br0", Some("bridge"), None),
            interface(5, "veth12ab", Some("veth"), None),
            interface(6, "docker0", Some("bridge"), None),
            interface(7, "blue0", None, Some(8)),
            interface(8, "vrf-blue", Some("vrf"), None),
            interface(9, "wg0", Some("wireguard"), None),
        ];
        let left: Vec<_> = all.iter().map(|one| left_out(one, &all)).collect();
        assert_eq!(
            left,
            [
                Some(LeftOut::Loopback),
                Some(LeftOut::PortOf("br0".into())),
                None,
                None,
                Some(LeftOut::Virtual),
                Some(LeftOut::Virtual),
                None,
                None,
                None,
            ]
        );
    }

    #[test]
    fn the_loopback_device_is_listed_with_its_addresses() {
        let all = list().unwrap();
        let loopback = all.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(loopback.loopback);
        assert_eq!(loopback.layer, Layer::Ethernet);
    }
}
