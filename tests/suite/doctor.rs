//! `doctor`: on a right node all is well, and each of its findings is brought about.

mod agent;
mod followed;
mod kernel;
mod knock;
mod sshd;
mod ways_in;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{AGENT, AgentSetup, Ca, Lab, Place, SshdSetup, eventually};
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{Scene, text};

const CONFIG: &str = "/etc/cotter/agent.toml";
/// What systemd-timesyncd leaves once it has set the clock: the machine that runs this need not have such a thing.
const TIME_IS_SET: &str = "/run/systemd/timesync/synchronized";

/// It explains every word.
const MANUAL: &str = include_str!("../../docs/administrators.md");

/// The words by which scripts know the findings of a node on which all is well.
const IDS: &str = "\
    admin-socket agent agent-capabilities authorized-keys bpffs break-glass break-glass-asked btf \
    caller cert-authority cgroup2 clock close-tracepoint clusters configuration endpoint-programs endpoints event-log hook \
    interface interfaces-left-out kernel-version login-grace-time login-ports metrics mode-file \
    mptcp other-logins pam pin-directory principals-command principals-file ptrace-scope redirected-port reload \
    restart sock-destroy sshd-version state-directory tc tcx trusted-ca use-pam xdp";

/// A node that enforces, on which all is well until something is changed.
fn right(agent: impl FnOnce(AgentSetup) -> AgentSetup) -> Result<Scene> {
    right_in(Lab::start()?, agent, |sshd| sshd)
}

fn right_in(
    lab: Lab,
    agent: impl FnOnce(AgentSetup) -> AgentSetup,
    sshd: impl FnOnce(SshdSetup) -> SshdSetup,
) -> Result<Scene> {
    let scene = Scene::in_lab(lab, "enforce", agent, sshd)?;
    scene.break_glass()?;
    scene.lab.node().write(TIME_IS_SET, "")?;
    Ok(scene)
}

/// What the doctor finds.
#[derive(Debug)]
struct Findings {
    all: Vec<Value>,
    code: Option<i32>,
}

impl Findings {
    /// There is one of this id and level whose line, with its remedy, has this text.
    #[track_caller]
    fn have(&self, id: &str, level: &str, what: &str) {
        assert!(MANUAL.contains(&format!("`{id}`")), "{id} is not in the manual");
        let line = |it: &Value| format!("{}; {}", it["what"], it["remedy"]);
        let fits = |it: &&Value| it["id"] == id && it["level"] == level && line(it).contains(what);
        assert!(
            self.all.iter().any(|it| fits(&it)),
            "no {level} {id} with {what:?} in {:#?}",
            self.troubles()
        );
    }

    #[track_caller]
    fn have_none_of(&self, id: &str) {
        assert!(self.all.iter().all(|it| it["id"] != id), "{id} in {:#?}", self.troubles());
    }

    /// The findings that are not ok.
    fn troubles(&self) -> Vec<&Value> {
        self.all.iter().filter(|it| it["level"] != "ok").collect()
    }
}

/// Has the doctor, or the program that runs it, look.
fn findings_of(node: &Place, wrapper: &[&str], options: &[&str]) -> Result<Findings> {
    let line = [wrapper, &[AGENT, "doctor", "--json"], options].concat();
    let output = node.output(Place::command(line[0]).args(&line[1..]))?;
    let complaint = || format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).with_context(complaint)?;
    for it in &all {
        let remedy = if it["level"] == "ok" { it["remedy"].is_null() } else { it["remedy"].is_string() };
        ensure!(remedy && !text(it, "what")?.contains('\n'), "{it}");
    }
    let worst = ["warning", "error"].map(|level| all.iter().any(|it| it["level"] == level));
    let expected = match worst {
        [_, true] => 2,
        [true, false] => 1,
        [false, false] => 0,
    };
    ensure!(output.status.code() == Some(expected), "{}", output.status);
    Ok(Findings { all, code: output.status.code() })
}

fn findings(scene: &Scene) -> Result<Findings> {
    findings_of(scene.lab.node(), &[], &[])
}

/// The same by a doctor some of whose system calls are tampered with.
fn findings_tampered(scene: &Scene, calls: &str, how: &str) -> Result<Findings> {
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{how}"));
    findings_of(scene.lab.node(), &["strace", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject], &[])
}

/// Has `sh` do something on the node.
fn shell(scene: &Scene, script: &str) -> Result<String> {
    scene.lab.node().run("sh", &["-ec", script])
}

/// Changes a file by replacing one text in it, looks, and puts it back.
fn with_changed(scene: &Scene, file: &str, from: &str, to: &str) -> Result<Findings> {
    let node = scene.lab.node();
    let before = node.read(file)?;
    ensure!(before.contains(from), "{from:?} is not in {file}: {before}");
    node.write(file, &before.replacen(from, to, 1))?;
    let findings = findings(scene);
    node.write(file, &before)?;
    findings
}

/// Has the agent read its configuration anew, with one text in it replaced by another.
fn reloaded(scene: &Scene, from: &str, to: &str) -> Result<()> {
    let config = scene.lab.node().read(CONFIG)?;
    ensure!(config.contains(from), "{from:?} is not in {config}");
    scene.lab.node().write(CONFIG, &config.replacen(from, to, 1))?;
    let mark = scene.agent.mark()?;
    scene.agent.signal(Signal::HUP)?;
    scene.agent.event_since(mark, "reload", |event| event["event"] == "reloaded").map(drop)
}

#[test]
fn on_a_right_node_all_is_well_and_stays_untouched() -> Result<()> {
    let scene = right(|agent| agent)?;
    let files =
        "find /etc /run/cotter /var/lib/cotter /sys/fs/bpf -printf '%p %i %m %s\\n' | sort; ip -o link";
    let before = shell(&scene, files)?;
    let found = findings(&scene)?;
    assert!(found.troubles().is_empty() && found.code == Some(0), "{:#?}", found.troubles());
    let mut ids: Vec<&str> = found.all.iter().filter_map(|it| it["id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids, IDS.split_whitespace().collect::<Vec<_>>());
    assert!(ids.iter().all(|id| MANUAL.contains(&format!("`{id}`"))), "{ids:?}");
    assert_eq!(shell(&scene, files)?, before);

    let printed = scene.agent.told(&["doctor"])?;
    assert_eq!(printed.lines().count(), found.all.len());
    assert!(printed.lines().all(|line| line.starts_with("ok       ")), "{printed}");
    Ok(())
}

#[test]
fn after_setup_as_the_readme_has_it_all_is_well() -> Result<()> {
    let lab = Lab::start()?;
    let ca = Ca::new(lab.node(), "example")?;
    let agent = AgentSetup::new("audit")
        .line("other_logins = \"allow\"")
        .cluster("example.com", &ca, "roles_from = \"default\"\ndefault_roles = [\"pinned-ip\"]")?
        .role("pinned-ip", &["pin_source_ip: true"])
        .start(&lab)?;
    let sshd = SshdSetup::as_distributed(&ca)?.start(&lab)?;
    let scene = Scene { agent, sshd, ca, lab };
    scene.break_glass()?;
    scene.lab.node().write(TIME_IS_SET, "")?;
    let before = findings(&scene)?;
    before.have("principals-command", "warning", "setup sshd");
    before.have("pam", "warning", "setup sshd");
    before.have("trusted-ca", "warning", "setup sshd");
    before.have("break-glass-asked", "warning", "break-glass keys do not get in");
    scene.agent.told(&["setup", "sshd"])?;
    let after = findings(&scene)?;
    assert!(after.troubles().is_empty(), "{:#?}", after.troubles());
    Ok(())
}

#[test]
fn an_agent_that_hangs_or_is_dead_is_told_in_time() -> Result<()> {
    let mut scene = right(|agent| agent)?;
    scene.agent.signal(Signal::STOP)?;
    let begin = Instant::now();
    findings(&scene)?.have("agent", "error", "does not answer");
    assert!(begin.elapsed() < Duration::from_secs(60));
    scene.agent.signal(Signal::CONT)?;
    scene.agent.kill9()?;
    let found = findings(&scene)?;
    found.have("agent", "error", "cannot be reached");
    found.have("interface", "ok", "still attached by xdp, without an agent");
    scene.agent.told(&["detach", "--all"])?;
    findings(&scene)?.have("interface", "ok", "would be attached by xdp, else tcx, else clsact");
    Ok(())
}

#[test]
fn a_program_that_hangs_is_waited_for_only_so_long() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(
        &scene,
        "printf '#!/bin/sh\\nsleep 1000\\n' >/run/hangs; chmod 755 /run/hangs; mount --bind /run/hangs /usr/sbin/nft",
    )?;
    findings(&scene)?.have("firewall", "warning", "nft: has not ended within 10 s");
    eventually("nothing of it is left", || {
        Ok(shell(&scene, "pgrep -f 'sleep 100[0]' || true")?.is_empty().then_some(()))
    })?;
    // What waits for a disk that does not answer outlives SIGKILL.
    let found = findings_tampered(&scene, "kill,pidfd_send_signal", "retval=0")?;
    found.have("firewall", "warning", "has not ended within 10 s, nor when it was killed");
    Ok(())
}

#[test]
fn a_callers_search_path_chooses_no_program() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(
        &scene,
        "mkdir /run/theirs; printf '#!/bin/sh\\ntouch /run/theirs/ran\\n' >/run/theirs/nft; chmod 755 /run/theirs/nft; \
         cd /run/theirs; for name in id iptables-save ip6tables-save ssh-keygen sshd systemctl; do cp nft $name; done",
    )?;
    let path = "PATH=/run/theirs:/usr/sbin:/usr/bin:/sbin:/bin";
    let found = findings_of(scene.lab.node(), &["env", path], &[])?;
    assert!(found.troubles().is_empty(), "{:#?}", found.troubles());
    shell(&scene, "! test -e /run/theirs/ran").map(drop)
}
