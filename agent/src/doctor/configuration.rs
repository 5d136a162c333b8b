//! The agent's configuration: whether it loads, and whether it is what is in force.

use super::{Finding, Node};
use crate::config::Config;

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let config = match &node.config {
        Ok(config) => config,
        Err(error) => {
            let remedy = "mend it; a running agent keeps the old one, but does not start again";
            return vec![Finding::error("configuration", error.to_string(), remedy)];
        }
    };
    let mut findings =
        vec![Finding::ok("configuration", format!("the configuration loads ({})", config.hash))];
    findings.extend(clusters(config));
    let Ok(status) = &node.status else { return findings };
    findings.push(if status.config_hash == config.hash {
        Finding::ok("reload", "the agent goes by it")
    } else if let Some(error) = &status.reload_error {
        let what = format!("the agent goes by an older one, for the latest reload was refused: {error}");
        Finding::warning("reload", what, "mend it, then systemctl reload cotter-agent")
    } else {
        let what = "it has changed since the agent read it";
        Finding::warning("reload", what, "systemctl reload cotter-agent")
    });
    findings
}

fn clusters(config: &Config) -> Vec<Finding> {
    let names: Vec<&str> = config.policy.clusters().iter().map(|cluster| cluster.name.as_str()).collect();
    if names.is_empty() {
        let what = "the configuration names no cluster: every certificate is a stranger's";
        return vec![Finding::warning("clusters", what, "add a [[cluster]] with its user_ca")];
    }
    vec![Finding::ok("clusters", format!("certificates are those of {}", names.join(", ")))]
}
