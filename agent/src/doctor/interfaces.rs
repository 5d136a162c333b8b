//! Interfaces: how the programs are attached to each, or would be, and what stands in the way.

use std::path::Path;

use super::{Finding, Node};
use crate::config::{AttachMode, Config};
use crate::daemon::call::{AttachmentStatus, Cause, NotCovered, Status};
use crate::daemon::coverage;
use crate::datapath;
use crate::interfaces::{self, Interface};

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let all = match interfaces::list() {
        Ok(all) => all,
        Err(error) => {
            let what = format!("the interfaces cannot be listed: {error}");
            return vec![Finding::error("interfaces", what, "see to rtnetlink")];
        }
    };
    match (&node.status, &node.config) {
        (Ok(status), config) => in_force(status, config.as_ref().ok(), &all),
        (Err(_), Ok(config)) => to_come(config, &node.places.bpf_pin_dir, &all),
        (Err(_), Err(_)) => Vec::new(),
    }
}

/// As the running agent has it.
fn in_force(status: &Status, config: Option<&Config>, all: &[Interface]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if status.attachments.is_empty() {
        let remedy = "see `interfaces` and `attach` in agent.toml";
        findings.push(Finding::error("interfaces", "no interface is covered", remedy));
    }
    findings.extend(status.attachments.iter().map(|it| attached(it, config, all)));
    findings.extend(not_covered(&status.not_covered));
    findings
}

fn attached(it: &AttachmentStatus, config: Option<&Config>, all: &[Interface]) -> Finding {
    let AttachmentStatus { interface, method } = it;
    let foreign = all.iter().find(|one| one.name == *interface).and_then(|one| one.xdp);
    let Some(foreign) = foreign.filter(|_| !method.starts_with("xdp")) else {
        return Finding::ok("interface", format!("{interface}: attached by {method}"));
    };
    let what =
        format!("{interface}: attached by {method}, behind XDP program {} of somebody else", foreign.id);
    match config.map(|config| config.attach) {
        Some(AttachMode::Xdp | AttachMode::XdpGeneric) => {
            Finding::warning("interface-taken", what, "take that away, or set attach = \"auto\"")
        }
        Some(AttachMode::Auto | AttachMode::Tc) | None => Finding::ok("interface", what),
    }
}

fn not_covered(interfaces: &[NotCovered]) -> Vec<Finding> {
    let mut left_out = Vec::new();
    let mut findings = Vec::new();
    for NotCovered { interface, cause, why } in interfaces {
        let what = format!("{interface}: {why}");
        match cause {
            Cause::LeftOut | Cause::NotListed => left_out.push(interface.as_str()),
            Cause::Missing => {
                let remedy = "mend `interfaces` in agent.toml, unless it comes later";
                findings.push(Finding::warning("interface-missing", what, remedy));
            }
            Cause::Failed => {
                let remedy = "see `attach` and `tc_hook` in agent.toml";
                findings.push(Finding::error("interface-not-covered", what, remedy));
            }
            Cause::Behind => {
                let remedy = "stop what insists on being first, or give its filter a higher pref, and restart the agent";
                findings.push(Finding::warning("interface-overtaken", what, remedy));
            }
        }
    }
    if !left_out.is_empty() {
        let what = format!("not covered, as the configuration has it: {}", left_out.join(", "));
        findings.push(Finding::ok("interfaces-left-out", what));
    }
    findings
}

/// As an earlier agent has left it, and as one with this configuration would try.
fn to_come(config: &Config, pin_dir: &Path, all: &[Interface]) -> Vec<Finding> {
    let (wanted, others) = coverage::wanted(&config.interfaces, all);
    let to_come = |interface: &&Interface| {
        let name = &interface.name;
        if let Some(method) = datapath::left_attached(pin_dir, interface) {
            return Finding::ok("interface", format!("{name}: still attached by {method}, without an agent"));
        }
        let ways = datapath::ways(interface, config.attach, config.tc_hook, None);
        let ways: Vec<&str> = ways.into_iter().map(datapath::Method::name).collect();
        Finding::ok("interface", format!("{name}: would be attached by {}", ways.join(", else ")))
    };
    wanted.iter().map(to_come).chain(not_covered(&others)).collect()
}
