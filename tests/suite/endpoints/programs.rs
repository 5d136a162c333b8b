//! The programs of the sessions' cgroup, where somebody has taken them away.

use anyhow::{Context, Result};
use lab::eventually;

use super::Endpoints;

/// Lists the pins of the programs' links: those of devices end with a number, and another is the tracepoint's.
const LINKS: &str = "ls /sys/fs/bpf/cotter/v*/link_cotter_* | grep -v -e '_[0-9]*$' -e '_close$'";

#[test]
fn a_cgroup_of_sessions_that_was_removed_and_made_anew_has_the_programs_again() -> Result<()> {
    let node = Endpoints::new()?;
    if node.scene.lab.has_systemd() {
        // It is that systemd's own there.
        return node.only_pinned_servers();
    }
    let slice = node.scene.lab.sessions_directory()?;
    std::fs::remove_dir(&slice)?;
    eventually("the agent makes it anew", || Ok(slice.exists().then_some(())))?;
    node.only_pinned_servers()
}

#[test]
fn programs_that_somebody_has_taken_away_are_put_back_and_tried_again_until_that_succeeds() -> Result<()> {
    let node = Endpoints::new()?;
    let (agent, root) = (&node.scene.agent, node.scene.lab.node());
    let told = |mark, event: &str| agent.event_since(mark, event, |it| it["event"] == event);

    let mark = agent.mark()?;
    let links = root.run("sh", &["-c", LINKS])?;
    let links: Vec<&str> = links.lines().collect();
    assert_eq!(links.len(), 13, "{links:?}");
    agent.behind_its_back(|| root.run("rm", &links))?;
    told(mark, "endpoints_lost")?;
    told(mark, "endpoints_held")?;
    node.only_pinned_servers()?;

    // Something of another's stands in the way of a pin.
    let mark = agent.mark()?;
    let first = links.first().context("no link")?;
    agent.behind_its_back(|| root.run("sh", &["-c", &format!("rm {} && mkdir {first}", links.join(" "))]))?;
    let lost = told(mark, "endpoints_lost")?;
    let why = eventually("status says why", || {
        Ok(agent.json(&["status"])?["endpoints_error"].as_str().map(str::to_owned))
    })?;
    assert!(lost["error"].as_str().is_some_and(|error| error.contains("removed")), "{lost}: {why}");
    root.run("rmdir", &[first])?;
    told(mark, "endpoints_held")?;
    assert!(agent.json(&["status"])?["endpoints_error"].is_null());
    node.only_pinned_servers()
}
