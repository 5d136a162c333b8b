//! `top` on a terminal: what it shows, and that the terminal is as before, however it ends.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use agent_ebpf::{SessionId, SessionState};
use anyhow::{Context, Result, ensure};
use cotter_agent::datapath::Tables;
use lab::{Order, Place, Terminal};
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{PINNING, Scene, text};

/// Where the agent's maps are pinned.
const PINS: &str = "/sys/fs/bpf/cotter";

/// Tells the kernel alone that a session is cut, so that what its client sends is dropped and nobody closes its socket.
fn drop_packets_of(scene: &Scene, session: &Value) -> Result<()> {
    let id = SessionId::new(u64::from_str_radix(text(session, "id")?, 16)?);
    scene.lab.node().enter(|| {
        let tables = Tables::open(PINS.as_ref())?;
        let kernel = tables.session(id)?.context("the session is not in the kernel")?;
        ensure!(tables.update_session(id, &kernel.with_state(SessionState::Cut))?, "it has ended");
        Ok(())
    })?
}

#[test]
fn sessions_drops_and_denials_are_seen_as_they_come() -> Result<()> {
    let scene = Scene::enforcing()?;
    let alice = scene.alice()?;
    let mut top = Terminal::agent(scene.lab.node(), &["top", "--interval", "200ms"])?;
    top.shows("nobody", |screen| screen.contains("no sessions") && screen.contains("mode enforce"))?;
    ensure!(top.is_taken()?);
    let mut session = scene.at_alice(&alice).stay()?;
    let screen = top.shows("alice", |screen| screen.contains("example.com/alice alice 198.51.111.1"))?;
    assert!(screen.contains("covered eth-alice, eth-else by "), "{screen}");
    scene.refused(&scene.at_elsewhere(&alice), "pin_mismatch")?;
    top.shows("the denial", |screen| screen.contains("pin_mismatch example.com/alice alice 198.51.222.2"))?;
    drop_packets_of(&scene, &scene.session_of("alice")?)?;
    session.send("never heard")?;
    let rate = |screen: &str| -> Option<f64> {
        let row = screen.lines().find(|line| line.starts_with("session_cut"))?;
        row.split_whitespace().nth(1)?.parse().ok()
    };
    top.shows("drops, some a second", |screen| rate(screen).is_some_and(|rate| rate > 0.0))?;
    top.press("q")?;
    assert_eq!(top.end()?.code(), Some(0));
    ensure!(!top.is_taken()?);
    Ok(())
}

#[test]
fn the_terminal_is_given_back_however_it_ends() -> Result<()> {
    let scene = Scene::enforcing()?;
    let given_back = |end: &str, act: &dyn Fn(&mut Terminal) -> Result<()>| -> Result<()> {
        let mut top = Terminal::agent(scene.lab.node(), &["top"])?;
        top.shows(end, |screen| screen.contains("q quit"))?;
        ensure!(top.is_taken()?, "{end}");
        act(&mut top)?;
        assert_eq!(top.end()?.code(), Some(0), "{end}");
        ensure!(!top.is_taken()?, "{end}");
        Ok(())
    };
    for (key, bytes) in [("q", "q"), ("escape", "\u{1b}"), ("control-c", "\u{3}")] {
        given_back(key, &|top| top.press(bytes))?;
    }
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        given_back(&format!("{signal:?}"), &|top| top.signal(signal))?;
    }
    Ok(())
}

#[test]
fn an_agent_that_goes_away_is_told_and_waited_for() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let mut top = Terminal::agent(scene.lab.node(), &["top", "--interval", "200ms"])?;
    top.shows("an answer", |screen| screen.contains("mode enforce"))?;
    scene.agent.kill9()?;
    top.shows("that there is none", |screen| screen.contains("NO ANSWER, trying again: the agent cannot"))?;
    let refused = scene.agent.cli(&["top", "--json"])?;
    assert_eq!(refused.status.code(), Some(3), "it never answered this one");
    let mut late = Terminal::agent(scene.lab.node(), &["top"])?;
    assert_eq!(late.end()?.code(), Some(3), "nor this one");
    ensure!(!late.is_taken()?);
    scene.agent.start()?;
    top.shows("an answer again", |screen| !screen.contains("NO ANSWER"))?;
    top.press("q")?;
    assert_eq!(top.end()?.code(), Some(0));
    Ok(())
}

#[test]
fn without_a_terminal_there_is_json_a_look_a_line_also_for_readers() -> Result<()> {
    let scene = Scene::enforcing()?;
    let refused = scene.agent.cli(&["top"])?;
    assert_eq!(refused.status.code(), Some(2));
    let complaint = String::from_utf8_lossy(&refused.stderr);
    assert!(complaint.contains("top needs a terminal"), "{complaint}");
    assert_eq!(scene.agent.cli(&["top", "--json", "--interval", "10ms"])?.status.code(), Some(2));

    let _session = scene.at_alice(&scene.alice()?).stay()?;
    scene.session_of("alice")?;
    let mut reader = Place::command("setpriv");
    reader.args(["--reuid=nobody", "--regid=adm", "--clear-groups", "cotter-agent", "top", "--json"]);
    reader.args(["--interval", "200ms"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut top = scene.lab.node().spawn(&mut reader)?;
    let mut lines = BufReader::new(top.stdout.take().context("no output")?).lines();
    let mut look = || -> Result<Value> { Ok(serde_json::from_str(&lines.next().context("no line")??)?) };
    let (first, second) = (look()?, look()?);
    assert_eq!(first["status"]["mode"]["mode"], "enforce");
    assert_eq!(first["sessions"][0]["user"], "alice");
    assert!(first.get("rates").is_none(), "{first}");
    let pinned = second["rates"].as_array().context("no rates")?.iter().find(|it| it["reason"] == "pinned");
    assert!(pinned.is_some_and(|rate| rate["packets"].as_f64() >= Some(0.0)), "{second}");
    Ok(())
}

#[test]
fn a_key_id_that_would_steer_the_terminal_is_only_shown() -> Result<()> {
    let scene = Scene::enforcing()?;
    let evil = "al\u{1b}[2Jice\u{9b}31m";
    let order = Order { options: &[PINNING], ..Order::login(evil, &["alice"]) };
    let alice = scene.ca.issue("alice", &order.pinned(crate::scene::AT_ALICE))?;
    let _session = scene.at_alice(&alice).stay()?;
    assert_eq!(scene.session_of("alice")?["user"], evil);
    let steers = |c: char| c.is_control() && c != '\n';
    for listing in [&["sessions"][..], &["sessions", "--json"], &["events"], &["events", "--json"]] {
        let said = scene.agent.told(listing)?;
        assert!(said.contains("ice") && !said.contains(steers), "{listing:?}: {said:?}");
    }
    let mut top = Terminal::agent(scene.lab.node(), &["top"])?;
    top.shows("the key id", |screen| screen.contains("example.com/al?[2Jice?31m"))?;
    top.press("q")?;
    top.end().map(drop)
}
