//! The lab itself, without an agent.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use lab::{ALICE, Ca, Lab, Login, NODE_V6, Order, SshdSetup, cgroup2, eventually};

/// Tells a copy of this test binary to start a lab, say which, and wait to be killed.
const HOLD: &str = "COTTER_LAB_HOLD";

#[test]
fn a_certificate_logs_in_over_ipv4_and_ipv6() -> Result<()> {
    let lab = Lab::start()?;
    let ca = Ca::new(lab.node(), "ca")?;
    let _sshd = SshdSetup::plain(&ca)?.start(&lab)?;
    let identity = ca.issue("alice", &Order::login("alice", &["alice"]))?;
    let login = Login::new(&lab.alice(), &identity, "alice");
    let v4 = login.succeed("echo $USER $SSH_CONNECTION")?;
    assert!(v4.starts_with(&format!("alice {} ", ALICE.v4)), "{v4}");
    let v6 = login.to(NODE_V6.into()).succeed("echo $USER $SSH_CONNECTION")?;
    assert!(v6.starts_with(&format!("alice {} ", ALICE.v6)), "{v6}");
    Ok(())
}

#[test]
fn a_pinned_certificate_is_refused_elsewhere_by_sshd_alone() -> Result<()> {
    let lab = Lab::start()?;
    let ca = Ca::new(lab.node(), "ca")?;
    let sshd = SshdSetup::plain(&ca)?.start(&lab)?;
    let identity = ca.issue("alice", &Order::login("alice", &["alice"]).pinned("198.51.111.1/32"))?;
    assert_eq!(Login::new(&lab.alice(), &identity, "alice").succeed("echo in")?, "in\n");
    let stolen = Login::new(&lab.elsewhere(), &identity, "alice").run("echo in")?;
    assert_eq!(stolen.status.code(), Some(255));
    assert!(sshd.log()?.contains("not from a permitted source address"), "{}", sshd.log()?);
    Ok(())
}

#[test]
fn a_session_stays_and_echoes_until_it_hangs_up() -> Result<()> {
    let lab = Lab::start()?;
    let ca = Ca::new(lab.node(), "ca")?;
    let _sshd = SshdSetup::plain(&ca)?.start(&lab)?;
    let identity = ca.issue("alice", &Order::login("alice", &["alice"]))?;
    let mut session = Login::new(&lab.alice(), &identity, "alice").stay()?;
    assert!(session.echoes("again", std::time::Duration::from_secs(30))?);
    assert!(session.ended()?.is_none());
    session.hang_up()
}

#[test]
fn two_labs_side_by_side_do_not_see_each_other_and_the_host_sees_neither() -> Result<()> {
    let (one, other) = (Lab::start()?, Lab::start()?);
    one.node().write("/etc/cotter/only-here", "")?;
    one.node().write("/var/lib/cotter/only-here", "")?;
    one.node().run("mkdir", &["/sys/fs/bpf/only-here"])?;
    let seen = |path: &'static str| other.node().enter(move || std::path::Path::new(path).exists());
    for path in ["/etc/cotter/only-here", "/var/lib/cotter/only-here", "/sys/fs/bpf/only-here"] {
        assert!(!seen(path)?, "{path} is seen in another lab");
        assert!(!std::path::Path::new(path).exists(), "{path} is seen on the host");
    }
    assert_eq!(one.node().run("hostname", &[])?, "node\n");
    assert!(one.node().run("ls", &["/sys/class/net"])?.contains(ALICE.device));
    assert!(!std::fs::read_to_string("/proc/net/dev")?.contains(ALICE.device));
    Ok(())
}

#[test]
fn processes_that_lose_their_parent_are_reaped_while_the_lab_lives() -> Result<()> {
    let lab = Lab::start()?;
    let leave = "for time in 0 0.2; do sleep $time </dev/null >/dev/null 2>&1 & echo $!; done";
    for orphan in lab.node().run("sh", &["-c", leave])?.lines() {
        let gone = || lab.node().enter(|| !std::path::Path::new("/proc").join(orphan).exists());
        eventually("the orphan is gone, not a zombie", || Ok(gone()?.then_some(())))?;
    }
    Ok(())
}

#[test]
fn nothing_is_left_of_a_lab_that_was_dropped() -> Result<()> {
    let lab = Lab::start()?;
    let ca = Ca::new(lab.node(), "ca")?;
    let sshd = SshdSetup::plain(&ca)?.start(&lab)?;
    let identity = ca.issue("alice", &Order::login("alice", &["alice"]))?;
    let session = Login::new(&lab.alice(), &identity, "alice").stay()?;
    let namespace = lab.node().network_namespace()?;
    assert!(inhabitants(&namespace)? > 2, "sshd, its child and init live there");
    drop((session, sshd, ca, lab));
    assert_eq!(inhabitants(&namespace)?, 0);
    Ok(())
}

#[test]
fn nothing_is_left_of_a_lab_whose_owner_was_killed() -> Result<()> {
    if std::env::var_os(HOLD).is_some() {
        return hold_a_lab_until_killed(Lab::start()?);
    }
    is_gone_once_its_owner_is_killed("lab_itself::nothing_is_left_of_a_lab_whose_owner_was_killed")
}

#[test]
fn nothing_is_left_of_a_lab_with_systemd_whose_owner_was_killed() -> Result<()> {
    if std::env::var_os(HOLD).is_some() {
        return hold_a_lab_until_killed(Lab::with_systemd()?);
    }
    is_gone_once_its_owner_is_killed(
        "lab_itself::nothing_is_left_of_a_lab_with_systemd_whose_owner_was_killed",
    )
}

fn is_gone_once_its_owner_is_killed(test: &str) -> Result<()> {
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", test, "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(owner.stdout.take().context("no output")?).lines();
    let namespace = lines
        .map_while(|line| line.ok())
        .find_map(|line| Some(line.split_once("holding ")?.1.to_owned()))
        .context("the owner held no lab")?;
    assert!(inhabitants(&namespace)? > 2);
    owner.kill()?;
    owner.wait()?;
    eventually("the lab is empty", || Ok((inhabitants(&namespace)? == 0).then_some(())))?;
    let its_own = format!("cotter-lab-{}-", owner.id());
    eventually("its control group is gone", || {
        let mut groups = std::fs::read_dir(cgroup2()?)?.map_while(Result::ok);
        let left = groups.any(|group| group.file_name().to_string_lossy().starts_with(&its_own));
        Ok((!left).then_some(()))
    })
}

/// What the copy of this program does.
fn hold_a_lab_until_killed(lab: Lab) -> Result<()> {
    let ca = Ca::new(lab.node(), "ca")?;
    let _sshd = SshdSetup::plain(&ca)?.start(&lab)?;
    let identity = ca.issue("alice", &Order::login("alice", &["alice"]))?;
    let mut session = Login::new(&lab.alice(), &identity, "alice").stay()?;
    println!("holding {}", lab.node().network_namespace()?);
    loop {
        session.echoes("still here", std::time::Duration::from_secs(1))?;
    }
}

/// How many processes of the host's live in the network namespace.
fn inhabitants(namespace: &str) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir("/proc")? {
        let link = std::fs::read_link(entry?.path().join("ns/net"));
        count += usize::from(link.is_ok_and(|link| link.to_string_lossy() == namespace));
    }
    Ok(count)
}
