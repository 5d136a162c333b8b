//! When a session is over: with its last process where it has a control group of its own, else with its connection.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use lab::{AgentSetup, Identity, Place, eventually, within};
use serde_json::Value;

use crate::scene::{Scene, text};

/// A node that gives each session a scope.
struct Scoped {
    scene: Scene,
}

impl Scoped {
    fn new(agent: impl FnOnce(AgentSetup) -> AgentSetup) -> Result<Self> {
        let scene = Scene::new("enforce", agent, |sshd| sshd)?;
        scene.lab.make_scopes_in(&scene.lab.sessions_directory()?)?;
        Ok(Self { scene })
    }

    /// Alice logs in, leaves a process behind and logs out; her session without a connection.
    fn process_left_behind(&self) -> Result<Value> {
        self.process_left_behind_by(&self.scene.alice()?)
    }

    fn process_left_behind_by(&self, alice: &Identity) -> Result<Value> {
        self.scene.at_alice(alice).succeed("setsid sleep 1000 </dev/null >/dev/null 2>&1 &")?;
        eventually("the session has no connection any more", || {
            Ok(self.scene.sessions()?.into_iter().find(|session| session["flows"] == 0))
        })
    }

    fn alice_has_processes(&self) -> Result<bool> {
        let output =
            self.scene.lab.node().output(Place::command("ps").args(["-u", "alice", "-o", "stat="]))?;
        // The dead that nobody has waited for are none.
        Ok(String::from_utf8(output.stdout)?.lines().any(|state| !state.starts_with('Z')))
    }
}

#[test]
fn a_session_with_a_scope_outlives_its_connection_until_its_last_process_ends() -> Result<()> {
    let node = Scoped::new(|agent| agent)?;
    let left = node.process_left_behind()?;
    assert!(text(&left, "cgroup")?.ends_with(".scope"), "{left}");
    assert_eq!(left["state"], "live");
    assert_eq!(node.scene.session_of("alice")?["id"], left["id"]);
    assert!(node.alice_has_processes()?);
    node.scene.lab.node().run("pkill", &["-u", "alice", "sleep"])?;
    node.scene.deserted()?;
    let closed = |event: &Value| event["event"] == "session_closed" && event["session"] == left["id"];
    node.scene.agent.event("the session is closed", closed).map(drop)
}

#[test]
fn a_session_that_only_its_processes_keep_is_still_known_to_the_next_agent() -> Result<()> {
    let mut node = Scoped::new(|agent| agent)?;
    let left = node.process_left_behind()?;
    node.scene.agent.kill9()?;
    node.scene.agent.start()?;
    assert_eq!(node.scene.session_of("alice")?["id"], left["id"]);
    node.scene.lab.node().run("pkill", &["-u", "alice", "sleep"])?;
    node.scene.deserted()
}

#[test]
fn a_cut_leaves_processes_alone_unless_told_to_kill_them() -> Result<()> {
    let node = Scoped::new(|agent| agent)?;
    let left = node.process_left_behind()?;
    node.scene.agent.told(&["cut", text(&left, "id")?])?;
    assert_eq!(node.scene.session_of("alice")?["state"], "cut");
    assert!(node.alice_has_processes()?);
    Ok(())
}

#[test]
fn a_cut_that_is_to_kill_ends_all_that_the_session_has_started() -> Result<()> {
    let node = Scoped::new(|agent| agent.line("on_cut = \"kill\""))?;
    let alice = node.scene.alice()?;
    node.process_left_behind_by(&alice)?;
    let mut session = node.scene.at_alice(&alice).stay_at_terminal("true")?;
    let mut bob = node.scene.at_alice(&node.scene.bob()?).stay()?;
    node.scene.agent.told(&["lock", "--login", "alice"])?;
    session.hears("it has been locked", Duration::from_secs(3))?;
    within(Duration::from_secs(3), "the client notices", || session.ended())?;
    eventually("no process of alice's is left", || Ok((!node.alice_has_processes()?).then_some(())))?;
    eventually("only bob's session is left", || Ok((node.scene.sessions()?.len() == 1).then_some(())))?;
    assert!(bob.echoes("still here", Duration::from_secs(5))?);
    Ok(())
}

#[test]
fn where_nobody_else_makes_a_scope_killing_ends_the_one_that_the_agent_has_made() -> Result<()> {
    let scene = Scene::new("enforce", |agent| agent.line("on_cut = \"kill\""), |sshd| sshd)?;
    let (alice, mut bob) = (scene.alice()?, scene.at_alice(&scene.bob()?).stay()?);
    scene.at_alice(&alice).succeed("setsid sleep 1000 </dev/null >/dev/null 2>&1 &")?;
    let mut session = scene.at_alice(&alice).stay()?;
    assert!(text(&scene.session_of("alice")?, "cgroup")?.ends_with(".scope"));
    scene.agent.told(&["lock", "--login", "alice"])?;
    within(Duration::from_secs(3), "the client notices", || session.ended())?;
    eventually("only bob's session is left", || Ok((scene.sessions()?.len() == 1).then_some(())))?;
    assert!(bob.echoes("still here", Duration::from_secs(5))?);
    Ok(())
}

#[test]
fn processes_left_behind_use_up_ones_own_room_and_a_refused_login_leaves_no_cgroup() -> Result<()> {
    let scene = Scene::new("enforce", |agent| agent.line("max_sessions_per_person = 2"), |sshd| sshd)?;
    let (alice, bob) = (scene.alice()?, scene.bob()?);
    for _ in 0..2 {
        scene.at_alice(&alice).succeed("setsid sleep 1000 </dev/null >/dev/null 2>&1 &")?;
    }
    scene.refused_a_session(&scene.at_alice(&alice), "table_full")?;
    let refused = scene.at_alice(&alice).run("true")?;
    let told = String::from_utf8(refused.stderr)? + &String::from_utf8(refused.stdout)?;
    assert!(told.contains("2 sessions are as many as one person may have here"), "{told}");
    assert!(told.contains("end sessions, or ask an administrator"), "{told}");
    scene.at_alice(&bob).succeed("true")?;

    let slice = scene.lab.sessions_directory()?;
    let made_here = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("cotter-");
    eventually("those of the two that are there are left", || {
        let entries = scene.lab.node().enter(|| std::fs::read_dir(&slice))??.flatten();
        Ok((entries.filter(made_here).count() == 2).then_some(()))
    })?;
    scene.lab.node().run("pkill", &["-u", "alice", "sleep"])?;
    scene.deserted()?;
    scene.at_alice(&alice).succeed("true").map(drop)
}

#[test]
fn a_session_whose_monitor_alone_was_killed_ends_with_its_connection() -> Result<()> {
    let scene = Scene::enforcing()?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    let listed = scene.session_of("alice")?;
    let monitor = listed["monitor"].to_string();
    scene.lab.node().run("kill", &["-9", &monitor])?;
    eventually("the monitor is gone", || {
        Ok((!scene.lab.node().enter(|| Path::new("/proc").join(&monitor).exists())?).then_some(()))
    })?;
    assert!(session.echoes("the other half serves on", Duration::from_secs(10))?);
    assert_eq!(scene.session_of("alice")?["id"], listed["id"]);
    session.hang_up()?;
    scene.deserted()
}
