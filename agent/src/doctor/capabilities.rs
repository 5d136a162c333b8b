//! Capabilities: those that looking takes, and those that the running agent needs.

use std::fs;

use rustix::thread::CapabilitySet;

use super::{Finding, Node};

/// What the agent's unit leaves it: to load programs, to follow closing sockets, to attach and to end sockets, to take
/// the connection of sshd's process.
const NEEDED: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_PTRACE);

/// Those that this process lacks.
pub(super) fn lacking() -> CapabilitySet {
    NEEDED.difference(effective("self").unwrap_or(CapabilitySet::empty()))
}

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let agent = node.status.as_ref().ok().map(|status| of_agent(status.pid));
    [caller(node)].into_iter().chain(agent).collect()
}

fn caller(node: &Node) -> Finding {
    if !rustix::process::geteuid().is_root() {
        return Finding::warning("caller", "not root: much of this cannot be looked at", "call it as root");
    }
    if node.lacking.is_empty() {
        return Finding::ok("caller", "the doctor may look at everything");
    }
    let what = format!("what needs {} is not looked at", names(node.lacking));
    Finding::warning("caller", what, "call it as root with all capabilities")
}

fn of_agent(pid: u32) -> Finding {
    let Some(effective) = effective(&pid.to_string()) else {
        let what = format!("the agent's process {pid} is not to be seen from here");
        return Finding::warning("agent-capabilities", what, "call it where the agent runs");
    };
    let lacking = NEEDED.difference(effective);
    if lacking.is_empty() {
        return Finding::ok("agent-capabilities", "the agent has the capabilities that it needs");
    }
    let what = format!("the agent lacks {}", names(lacking));
    Finding::error("agent-capabilities", what, "give it what packaging/systemd/cotter-agent.service does")
}

/// The effective capabilities of a process (`CapEff` of proc(5)).
fn effective(pid: &str) -> Option<CapabilitySet> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(bits.trim(), 16).ok().map(CapabilitySet::from_bits_retain)
}

fn names(set: CapabilitySet) -> String {
    set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect::<Vec<_>>().join(", ")
}
