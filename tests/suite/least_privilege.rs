//! The agent does its work with what its unit leaves it.

use std::time::Duration;

use anyhow::{Context, Result};
use lab::{AgentSetup, Lab, eventually};

use crate::scene::{Scene, text};

/// A login, a takeover by a new agent, a cut, and the agent gone for good: the way that an attachment lives.
fn lives(attached: &str, setup: impl FnOnce(AgentSetup) -> AgentSetup) -> Result<()> {
    let mut scene = Scene::in_lab(Lab::with_systemd()?, "enforce", setup, |sshd| sshd)?;
    let status = scene.agent.json(&["status"])?;
    assert_eq!(status["attachments"][0]["method"], attached, "{status}");
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    let before = scene.session_of("alice")?;
    scene.agent.kill9()?;
    scene.agent.start()?;
    let after = scene.session_of("alice")?;
    assert_eq!(before["id"], after["id"]);
    assert!(session.echoes("still here", Duration::from_secs(30))?);
    let filters = scene.lab.node().run("tc", &["filter", "show", "dev", "eth-alice", "ingress"])?;
    let expected = usize::from(attached == "clsact");
    assert_eq!(filters.matches("direct-action").count(), expected, "{filters}");
    scene.agent.told(&["cut", text(&after, "id")?])?;
    assert!(!session.echoes("gone", Duration::from_secs(5))?);
    scene.deserted()?;
    let mode = "stat -c %G:%a /run/cotter/read.sock";
    assert_eq!(scene.lab.node().run("sh", &["-c", mode])?, "adm:660\n");
    for trouble in ["ermission denied", "not permitted", "WARN", "ERROR"] {
        assert!(!scene.agent.log()?.contains(trouble), "{}", scene.agent.log()?);
    }
    scene.agent.stop()?;
    let said = scene.agent.told(&["detach", "--all"])?;
    assert!(said.contains("detached from eth-alice"), "{said}");
    let left = "ip -details link show dev eth-alice; tc filter show dev eth-alice ingress; ls /sys/fs/bpf";
    // The kernel lets go of a link a little after its pin is gone.
    eventually("nothing of ours is left in the kernel", || {
        let left = scene.lab.node().run("sh", &["-c", left])?;
        Ok((!left.contains("cotter") && !left.contains("xdp")).then_some(()))
    })
}

#[test]
fn with_xdp() -> Result<()> {
    lives("xdp", |agent| agent)
}

#[test]
fn with_tcx() -> Result<()> {
    lives("tcx", |agent| agent.line("attach = \"tc\"\ntc_hook = \"tcx\""))
}

#[test]
fn with_clsact() -> Result<()> {
    lives("clsact", |agent| agent.line("attach = \"tc\"\ntc_hook = \"clsact\""))
}

#[test]
fn the_unit_is_the_installed_one_as_it_is_and_all_of_it_is_in_force() -> Result<()> {
    let scene = Scene::in_lab(Lab::with_systemd()?, "enforce", |agent| agent, |sshd| sshd)?;
    let show =
        |name: &str| scene.lab.node().run("systemctl", &["show", "--value", "-p", name, "cotter-agent"]);
    assert_eq!(show("FragmentPath")?.trim(), "/lib/systemd/system/cotter-agent.service");
    assert_eq!(show("DropInPaths")?.trim(), "");
    assert_eq!(show("NotifyAccess")?.trim(), "main");
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.agent.pid()?.as_raw_pid()))?;
    let has = |line: &str| status.lines().any(|it| it.split_whitespace().eq(line.split_whitespace()));
    // BPF, PERFMON, NET_ADMIN, SYS_PTRACE; seccomp's filter.
    for line in ["CapEff: 000000c000081000", "CapBnd: 000000c000081000", "NoNewPrivs: 1", "Seccomp: 2"] {
        assert!(has(line), "not {line}: {status}");
    }
    let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", scene.agent.pid()?.as_raw_pid()))?;
    let options = |point: &str| {
        let mut lines = mounts.lines().filter_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            (fields.get(1) == Some(&point)).then(|| fields[3].to_owned())
        });
        lines.next_back().context("not mounted")
    };
    for (point, writable) in [("/", "ro"), ("/sys/fs/bpf/cotter", "rw"), ("/sys/fs/cgroup/user.slice", "rw")]
    {
        assert_eq!(options(point)?.split(',').next(), Some(writable), "{point}: {mounts}");
    }
    Ok(())
}
