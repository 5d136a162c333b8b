//! The command line: its answers, its exit codes, reloading.

use std::process::Stdio;

use agent_ebpf::Reason;
use anyhow::{Context, Result};
use lab::{Agent, Order, Place, Terminal, counter, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::scene::{AT_ALICE, PINNING, Scene};

fn code(agent: &Agent, arguments: &[&str]) -> Result<Option<i32>> {
    Ok(agent.cli(arguments)?.status.code())
}

#[test]
fn check_cert_says_offline_what_a_login_would_get() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let certificate = scene.alice()?.certificate();
    scene.agent.kill9()?;
    let check = |from| ["check-cert", &certificate, "--login", "alice", "--from", from];
    let here = scene.agent.json(&check("198.51.111.1"))?;
    let expected = json!({
        "verdict": "allow", "reason": "allowed", "cluster": "example.com", "user": "alice",
        "roles": ["pinned-ip"], "pinned": [AT_ALICE], "observed": "198.51.111.1",
    });
    assert_eq!(here, expected);
    let there = scene.agent.json(&check("198.51.222.2"))?;
    assert_eq!((&there["verdict"], &there["reason"]), (&json!("deny"), &json!("pin_mismatch")));
    assert_eq!(code(&scene.agent, &check("198.51.111.1"))?, Some(0));
    assert_eq!(code(&scene.agent, &check("198.51.222.2"))?, Some(1));
    assert_eq!(code(&scene.agent, &["check-cert", "/nowhere", "--login", "a", "--from", "::1"])?, Some(2));
    Ok(())
}

#[test]
fn status_and_exit_codes_tell_whether_the_agent_lives() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let status = scene.agent.json(&["status"])?;
    assert_eq!(status["mode"]["mode"], "enforce");
    assert_eq!(status["attachments"].as_array().context("no attachments")?.len(), 2);
    assert_eq!(code(&scene.agent, &["locks"])?, Some(0));
    assert_eq!(code(&scene.agent, &["unlock", "nothing"])?, Some(1));
    assert_eq!(code(&scene.agent, &["lock"])?, Some(2));
    assert_eq!(code(&scene.agent, &["lock", "--address", "somewhere"])?, Some(2));
    scene.agent.kill9()?;
    assert_eq!(code(&scene.agent, &["status"])?, Some(3));
    assert_eq!(code(&scene.agent, &["mode", "off"])?, Some(3));
    Ok(())
}

#[test]
fn status_says_on_one_screen_what_is_in_force() -> Result<()> {
    let scene = Scene::new("enforce", |agent| agent.line("other_logins = \"deny\""), |sshd| sshd)?;
    let status = scene.agent.json(&["status"])?;
    let loaded = status["config_loaded_at"].as_u64().context("no time")?;
    scene.agent.told(&["mode", "audit", "--confirm-within", "10m"])?;
    let screen = || scene.agent.told(&["status"]);
    let said = screen()?;
    assert!(said.lines().count() <= 24 && said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert!(!said.contains('\u{1b}'), "colours are for terminals: {said:?}");
    for fact in [
        "\nmode           audit (goes back to enforce in ",
        "\ncluster        example.com: 1 CA key, roles_from cotter, on_expiry cut\n",
        "\nother logins   deny; until mode enforce they are let in\n",
        "\nlogin ports    22\n",
        "\ncovered        eth-alice, eth-else by xdp\n",
        "\nleft out       ",
        &format!(", {} roles\n", status["roles"]),
        "\nlocks          0\n",
        "\npackets dropped none\n",
    ] {
        assert!(format!("\n{said}").contains(fact), "{fact}: {said}");
    }

    let config = scene.lab.node().read("/etc/cotter/agent.toml")?;
    scene.lab.node().write("/etc/cotter/agent.toml", &format!("modus = \"audit\"\n{config}"))?;
    scene.agent.signal(Signal::HUP)?;
    eventually("the refused reload", || {
        let said = screen()?;
        Ok(said.contains("\nnot reloaded   /etc/cotter/agent.toml:1:1").then_some(()))
    })?;
    scene.lab.node().write("/etc/cotter/agent.toml", &config.replace("deny", "allow"))?;
    scene.agent.signal(Signal::HUP)?;
    eventually("the new configuration", || {
        let said = screen()?;
        let is_new = said.contains("\nother logins   allow\n") && !said.contains("not reloaded");
        Ok(is_new.then_some(()))
    })?;
    assert!(scene.agent.json(&["status"])?["config_loaded_at"].as_u64() >= Some(loaded));
    let mut coloured = Terminal::agent(scene.lab.node(), &["status"])?;
    assert_eq!(coloured.end()?.code(), Some(0));
    assert!(coloured.has_colours(), "at a terminal it has colours");
    Ok(())
}

#[test]
fn explain_asks_the_loaded_program() -> Result<()> {
    let scene = Scene::enforcing()?;
    let explain = |from: &str, to: &str| -> Result<Value> {
        let question = ["explain", "--from", from, "--to", to];
        let by_xdp = scene.agent.json(&question)?;
        let by_tc = scene.agent.json(&[&question[..], &["--tc"]].concat())?;
        assert_eq!(by_xdp, by_tc);
        Ok(by_xdp["reason"].clone())
    };
    assert_eq!(explain("198.51.222.2:5555", "198.51.100.10:22")?, "login_attempt");
    assert_eq!(explain("198.51.222.2:5555", "198.51.100.10:80")?, "not_protected");
    assert_eq!(explain("198.51.222.2:5555", "198.51.44.3:22")?, "not_local");
    let _session = scene.at_alice(&scene.alice()?).stay()?;
    let peer = scene.session_of("alice")?["peer"].clone();
    assert_eq!(explain(peer.as_str().context("no peer")?, "198.51.100.10:22")?, "pinned");
    Ok(())
}

#[test]
fn replay_judges_a_capture_without_touching_the_counters() -> Result<()> {
    let scene = Scene::enforcing()?;
    let node = scene.lab.node();
    let mut tcpdump = Place::command("tcpdump");
    tcpdump.args([
        "-i",
        "eth-alice",
        "-Q",
        "in",
        "-U",
        "--immediate-mode",
        "-Z",
        "root",
        "-w",
        "/tmp/login.pcap",
    ]);
    let mut capture = node.spawn(tcpdump.arg("tcp port 22").stderr(Stdio::null()))?;
    let header = || node.enter(|| std::fs::metadata("/tmp/login.pcap").is_ok_and(|file| file.len() >= 24));
    eventually("tcpdump has written the file's header", || Ok(header()?.then_some(())))?;
    let _session = scene.at_alice(&scene.alice()?).stay()?;
    scene.session_of("alice")?;
    capture.kill()?;
    capture.wait()?;
    let counted = || -> Result<Vec<(Reason, u64)>> {
        // Neighbour discovery goes on meanwhile, and so may the session.
        let live = [Reason::NotIp, Reason::NotProtected, Reason::Pinned];
        let packets = counter::packets(node)?.into_iter();
        Ok(packets.filter(|(reason, _)| !live.contains(reason)).collect())
    };
    let before = counted()?;
    let replayed = scene.agent.told(&["replay", "/tmp/login.pcap", "--json"])?;
    let lines: Vec<Value> = replayed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert!(lines.len() > 10, "{replayed}");
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["packet"], index + 1);
        assert_eq!((&line["action"], &line["reason"]), (&json!("pass"), &json!("pinned")), "{line}");
    }
    assert_eq!(counted()?, before);
    Ok(())
}

#[test]
fn a_reload_takes_all_or_nothing() -> Result<()> {
    let scene = Scene::enforcing()?;
    let node = scene.lab.node();
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let unpinned = scene.ca.issue("alice", &order)?;
    let role = node.read("/etc/cotter/roles.d/pinned-ip.yaml")?;
    let hash = || -> Result<Value> { Ok(scene.agent.json(&["status"])?["config_hash"].clone()) };
    let before = hash()?;

    node.write(
        "/etc/cotter/roles.d/pinned-ip.yaml",
        &role.replace("pin_source_ip: true", "pin_source_ip: maybe"),
    )?;
    scene.agent.signal(Signal::HUP)?;
    let refused = scene.agent.event("refusal", |event| event["event"] == "reload_failed")?;
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("pinned-ip.yaml:7:")), "{refused}");
    assert_eq!(hash()?, before);
    assert_eq!(scene.at_alice(&unpinned).run("echo in")?.status.code(), Some(255));

    node.write(
        "/etc/cotter/roles.d/pinned-ip.yaml",
        &role.replace("pin_source_ip: true", "pin_source_ip: false"),
    )?;
    scene.agent.signal(Signal::HUP)?;
    scene.agent.event("reload", |event| event["event"] == "reloaded")?;
    assert_ne!(hash()?, before);
    assert_eq!(scene.at_alice(&unpinned).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn config_check_names_file_line_and_column() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    scene.agent.kill9()?;
    assert_eq!(code(&scene.agent, &["config", "check"])?, Some(0));
    let config = scene.lab.node().read("/etc/cotter/agent.toml")?;
    scene.lab.node().write("/etc/cotter/agent.toml", &format!("modus = \"audit\"\n{config}"))?;
    let output = scene.agent.cli(&["config", "check"])?;
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("/etc/cotter/agent.toml:1:1"), "{complaint}");
    Ok(())
}
