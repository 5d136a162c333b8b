//! What a lenient mode lets pass, of the node or of a role, and what enforcing catches up on.

use std::time::Duration;

use anyhow::Result;
use lab::{Order, eventually, within};

use crate::scene::{Scene, text};

/// A role that pins and only reports, on whatever node.
const REPORTING: &str = r#"extension:roles@cotter=["reporting"]"#;

fn with_reporting_role() -> Result<Scene> {
    let options = ["pin_source_ip: true", "mode: audit"];
    Scene::new("enforce", |agent| agent.role("reporting", &options), |sshd| sshd)
}

#[test]
fn a_session_of_before_is_cut_by_a_lock_once_the_node_enforces() -> Result<()> {
    let scene = Scene::new("audit", |agent| agent, |sshd| sshd)?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    scene.session_of("alice")?;
    scene.agent.told(&["mode", "enforce"])?;
    assert!(session.echoes("nothing is wrong with it", Duration::from_secs(10))?);
    scene.agent.told(&["lock", "--login", "alice"])?;
    within(Duration::from_secs(3), "the client notices", || session.ended())?;
    scene.deserted()
}

#[test]
fn a_lock_of_before_is_made_good_once_the_node_enforces() -> Result<()> {
    let scene = Scene::new("audit", |agent| agent, |sshd| sshd)?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    scene.session_of("alice")?;
    scene.agent.told(&["lock", "--login", "alice"])?;
    assert!(session.echoes("audit cuts nothing", Duration::from_secs(10))?);
    scene.agent.told(&["mode", "enforce"])?;
    within(Duration::from_secs(3), "the client notices", || session.ended()).map(drop)
}

#[test]
fn a_role_that_only_reports_lets_in_and_cuts_nothing_on_a_node_that_enforces() -> Result<()> {
    let scene = with_reporting_role()?;
    let order = Order { options: &[REPORTING], ..Order::login("alice", &["alice"]) };
    let unpinned = scene.ca.issue("alice", &order)?;
    let mark = scene.agent.mark()?;
    let mut session = scene.at_alice(&unpinned).stay()?;
    let denial = scene.denial_since(mark, "pin_missing")?;
    assert_eq!(denial["overruled"], true, "{denial}");
    let listed = scene.session_of("alice")?;
    assert_eq!(listed["mode"], "audit");
    scene.agent.told(&["lock", "--login", "alice"])?;
    assert!(session.echoes("still here", Duration::from_secs(10))?);
    let explained =
        scene.agent.json(&["explain", "--from", text(&listed, "peer")?, "--to", text(&listed, "local")?])?;
    assert_eq!((&explained["action"], &explained["reason"]), (&"pass".into(), &"audit".into()));
    assert_eq!(explained["overruled"], "session_cut");
    Ok(())
}

#[test]
fn a_role_that_only_reports_does_not_help_one_that_pins() -> Result<()> {
    let scene = with_reporting_role()?;
    let both = r#"extension:roles@cotter=["reporting","pinned-ip"]"#;
    let order = Order { options: &[both], ..Order::login("alice", &["alice"]) };
    let unpinned = scene.ca.issue("alice", &order)?;
    scene.refused(&scene.at_alice(&unpinned), "pin_missing").map(drop)
}

#[test]
fn in_audit_an_agent_that_cannot_load_its_programs_keeps_nobody_out() -> Result<()> {
    let mut scene = Scene::new("audit", |agent| agent, |sshd| sshd)?;
    let alice = scene.alice()?;
    let node = scene.lab.node();
    scene.agent.kill9()?;
    node.run("rm", &["-r", "/run/cotter", "/var/lib/cotter"])?;
    let config = node.read("/etc/cotter/agent.toml")?;
    node.write("/etc/cotter/agent.toml", &format!("bpf_pin_dir = \"/var/no-bpffs/cotter\"\n{config}"))?;
    scene.agent.launch()?;
    let status = eventually("the agent gives up", || scene.agent.exit_status())?;
    assert_eq!(status.code(), Some(3), "{}", scene.agent.log()?);
    assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
    // sshd's own check of source-address stays.
    assert_eq!(scene.at_elsewhere(&alice).run("echo in")?.status.code(), Some(255));
    Ok(())
}
