//! Who is wired to the node, and by which addresses.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Stdio;

use anyhow::{Result, bail};

use crate::place::Place;

/// The node's IPv4 address; it belongs to none of the wires.
pub const NODE_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The node's IPv6 address.
pub const NODE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10);

/// A host and the wire (a veth pair) from it to the node. The host's end is named `eth0`; the node's end has the last
/// address of the host's network (`.254`, `::ffff`), which is the host's default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The host's name.
    pub host: &'static str,
    /// The device at the node's end.
    pub device: &'static str,
    /// The host's IPv4 address, in a /24.
    pub v4: Ipv4Addr,
    /// The host's IPv6 address, in a /64.
    pub v6: Ipv6Addr,
}

/// Where alice logs in.
pub const ALICE: Wire = Wire {
    host: "alice",
    device: "eth-alice",
    v4: Ipv4Addr::new(198, 51, 111, 1),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 0x111, 0, 0, 0, 0, 1),
};
/// Where her stolen key and certificate turn up.
pub const ELSEWHERE: Wire = Wire {
    host: "elsewhere",
    device: "eth-else",
    v4: Ipv4Addr::new(198, 51, 222, 2),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 0x222, 0, 0, 0, 0, 2),
};
/// A host behind the node, which routes for it; the agent does not cover its wire.
pub const INSIDE: Wire = Wire {
    host: "inside",
    device: "eth-inside",
    v4: Ipv4Addr::new(198, 51, 44, 3),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 0x44, 0, 0, 0, 0, 3),
};

impl Wire {
    fn gateway_v4(&self) -> Ipv4Addr {
        let [a, b, c, _] = self.v4.octets();
        Ipv4Addr::new(a, b, c, 254)
    }

    fn gateway_v6(&self) -> Ipv6Addr {
        let [a, b, c, d, ..] = self.v6.segments();
        Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0xffff)
    }
}

/// Gives the node its addresses and wires the hosts to it.
pub(crate) fn wire_up(node: &Place, wires: &[Wire]) -> Result<()> {
    node.enter(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
    })??;
    let mut lines =
        format!("link set lo up\naddress add {NODE_V4}/32 dev lo\naddress add {NODE_V6}/128 dev lo\n");
    for wire in wires {
        node.run("ip", &["netns", "add", wire.host])?;
        let Wire { host, device, .. } = wire;
        writeln!(lines, "link add {device} type veth peer name eth0 netns {host}")?;
        writeln!(lines, "address add {}/24 dev {device}", wire.gateway_v4())?;
        writeln!(lines, "address add {}/64 dev {device} nodad", wire.gateway_v6())?;
        writeln!(lines, "link set {device} up")?;
    }
    batch(node, &lines)?;
    for wire in wires {
        let mut lines = format!("link set lo up\naddress add {}/24 dev eth0\n", wire.v4);
        writeln!(lines, "address add {}/64 dev eth0 nodad\nlink set eth0 up", wire.v6)?;
        writeln!(lines, "route add default via {}", wire.gateway_v4())?;
        writeln!(lines, "route add ::/0 via {}", wire.gateway_v6())?;
        batch(&node.host(wire.host), &lines)?;
    }
    Ok(())
}

/// Runs the lines through `ip -batch`.
fn batch(place: &Place, lines: &str) -> Result<()> {
    let mut ip = Place::command("ip");
    let mut child = place.spawn(ip.args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes())?;
    }
    let mut complaint = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut complaint)?;
    }
    if !child.wait()?.success() {
        bail!("ip -batch on {}: {complaint}{lines}", place.name());
    }
    Ok(())
}
