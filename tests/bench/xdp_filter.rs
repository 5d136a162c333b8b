//! xdp-filter, the packet filter of xdp-tools, on a device of the lab: what others pay for a packet that passes.

use anyhow::{Context, Result};
use lab::{ELSEWHERE, Place};
use serde_json::Value;

use crate::program::Program;

/// Filtered, but none of the packets' address.
const FILTERED: &str = "192.0.2.99";

/// Loads it with one address to filter; the program is the one that the device runs, libxdp's dispatcher included.
pub(crate) fn load(node: &Place, pin: &str) -> Result<Program> {
    node.run("xdp-filter", &["load", "--mode", "native", ELSEWHERE.device])?;
    node.run("xdp-filter", &["ip", FILTERED])?;
    let devices: Value =
        serde_json::from_str(&node.run("ip", &["-json", "link", "show", ELSEWHERE.device])?)?;
    let id = devices[0]["xdp"]["prog"]["id"].as_u64().context("xdp-filter is not on its device")?;
    node.run("bpftool", &["prog", "pin", "id", &id.to_string(), pin])?;
    node.enter(|| Program::pinned(pin))?
}
