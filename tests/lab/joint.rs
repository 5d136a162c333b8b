//! A wire between two labs, such as a bastion and a node behind it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::lab::Lab;
use crate::place::Place;

/// Both ends of it, by their addresses; a test may have several, by their numbers.
#[derive(Clone, Copy, Debug)]
pub struct Joint {
    number: u8,
}

impl Joint {
    /// Joins the nodes of two labs.
    pub fn between(near: &Lab, far: &Lab, number: u8) -> Result<Self> {
        let joint = Self { number };
        let (device, ends) = (joint.device(), [near, far].map(|lab| lab.node().init().to_string()));
        let link = ["link", "add", &device, "netns", &ends[0], "type", "veth", "peer", "name", &device];
        let made = Command::new("ip").args(link).args(["netns", &ends[1]]).output()?;
        ensure!(made.status.success(), "ip {link:?}: {}", String::from_utf8_lossy(&made.stderr));
        joint.set_up(near.node(), joint.near_v4(), joint.near_v6())?;
        joint.set_up(far.node(), joint.far_v4(), joint.far_v6())?;
        Ok(joint)
    }

    /// The first lab's end.
    pub fn near_v4(self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, self.number * 4 + 1)
    }

    /// The second lab's.
    pub fn far_v4(self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, self.number * 4 + 2)
    }

    /// The first lab's end.
    pub fn near_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xf, self.number.into(), 0, 0, 0, 1)
    }

    /// The second lab's.
    pub fn far_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xf, self.number.into(), 0, 0, 0, 2)
    }

    fn device(self) -> String {
        format!("eth-joint{}", self.number)
    }

    fn set_up(self, node: &Place, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<()> {
        let device = self.device();
        node.run("ip", &["address", "add", &format!("{v4}/30"), "dev", &device])?;
        node.run("ip", &["address", "add", &format!("{v6}/64"), "dev", &device, "nodad"])?;
        node.run("ip", &["link", "set", &device, "up"]).map(drop)
    }
}
