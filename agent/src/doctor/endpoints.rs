//! Whether what sessions open for others to reach is held to their pins.

use super::{Finding, Node};

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let (Ok(config), Ok(status)) = (&node.config, &node.status) else { return Vec::new() };
    let finding = match &status.endpoints_error {
        None => Finding::ok("endpoints", "what sessions open for others to reach is held to their pins"),
        Some(why) => Finding::error(
            "endpoints",
            format!("what sessions open for others to reach is not held to their pins: {why}"),
            format!(
                "see that cgroup2 is mounted and that the agent may write below {}, and restart it",
                config.sessions_cgroup
            ),
        ),
    };
    vec![finding]
}
