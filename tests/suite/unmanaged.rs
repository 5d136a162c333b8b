//! Connections to a login port that have no session: there to stay, or older than the agent.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{AgentSetup, Ca, Lab, Login, NODE_V4, Order, Place, SshdSetup, eventually, within};
use serde_json::Value;

use crate::scene::{AT_ALICE, OPEN, Scene};

/// The least that the configuration takes; the agent adds a margin of a few seconds and looks every few.
const GRACE: &str = "login_grace_time = 1";
/// Until a look has certainly come, however busy the machine is.
const LOOKED_AT: Duration = Duration::from_secs(40);

/// A connection to sshd from a host, on which nothing is said after sshd's banner.
fn silent(from: &Place) -> Result<TcpStream> {
    let stream = from.enter(|| TcpStream::connect((NODE_V4, 22)))??;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut start = [0; 4];
    (&stream).read_exact(&mut start)?;
    assert_eq!(&start, b"SSH-");
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Whether the connection has ended.
fn ended(stream: &TcpStream) -> Option<()> {
    let mut rest = [0; 256];
    loop {
        match (&mut &*stream).read(&mut rest) {
            Ok(0) => return Some(()),
            Ok(_banner) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
            Err(_reset) => return Some(()),
        }
    }
}

fn unmanaged(scene: &Scene) -> Result<Vec<Value>> {
    let listed = scene.agent.json(&["sessions"])?;
    Ok(listed["unmanaged"].as_array().context("no list of unmanaged connections")?.clone())
}

fn scene(mode: &str) -> Result<Scene> {
    Scene::new(mode, |agent| agent.line(GRACE), |sshd| sshd.line("LoginGraceTime 0"))
}

#[test]
fn who_stays_without_logging_in_is_cut_and_who_has_logged_in_is_not() -> Result<()> {
    let scene = scene("enforce")?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    let stream = silent(&scene.lab.elsewhere())?;
    within(LOOKED_AT, "the connection without a session ends", || Ok(ended(&stream)))?;
    let event = scene.agent.event("cut", |event| event["event"] == "connection_cut")?;
    assert_eq!(event["observed"], "198.51.222.2");
    assert!(session.echoes("still here", Duration::from_secs(10))?);
    Ok(())
}

#[test]
fn audit_leaves_alone_who_stays_without_logging_in() -> Result<()> {
    let scene = scene("audit")?;
    let stream = silent(&scene.lab.elsewhere())?;
    eventually("the agent has looked", || Ok((unmanaged(&scene)?.len() == 1).then_some(())))?;
    let since = Instant::now();
    // Twice the time after which enforcing would have cut it.
    eventually("the time is over", || {
        assert_eq!(ended(&stream), None);
        Ok((since.elapsed() > Duration::from_secs(15)).then_some(()))
    })
}

#[test]
fn connections_older_than_the_agent_are_listed_as_unmanaged_and_never_cut() -> Result<()> {
    let lab = Lab::start()?;
    let ca = Ca::new(lab.node(), "example")?;
    // Before there is Cotter on the node.
    let plain = SshdSetup::plain(&ca)?.line("LoginGraceTime 0").start(&lab)?;
    let alice = ca.issue("alice", &Order { options: &[OPEN], ..Order::login("alice", &["alice"]) })?;
    let mut session = Login::new(&lab.alice(), &alice, "alice").stay()?;
    let stream = silent(&lab.elsewhere())?;
    drop(plain);
    let agent = AgentSetup::new("enforce")
        .line(GRACE)
        .cluster("example.com", &ca, "roles_from = \"cotter\"")?
        .role("open", &[])
        .start(&lab)?;
    let sshd = SshdSetup::with_cotter(&ca)?.line("LoginGraceTime 0").start(&lab)?;
    let scene = Scene { agent, sshd, ca, lab };

    assert_eq!(unmanaged(&scene)?.len(), 2);
    let from = |host: &str, listed: &[Value]| {
        listed.iter().any(|it| it["peer"].as_str().is_some_and(|peer| peer.starts_with(host)))
    };
    let listed = unmanaged(&scene)?;
    assert!(from("198.51.111.1:", &listed) && from("198.51.222.2:", &listed), "{listed:?}");
    scene.agent.told(&["lock", "--address", AT_ALICE])?;
    // One that came later stands for the time after which the older ones would be cut, if they were.
    let later = silent(&scene.lab.elsewhere())?;
    within(LOOKED_AT, "the later connection ends", || Ok(ended(&later)))?;
    assert_eq!(ended(&stream), None);
    assert!(session.echoes("still here", Duration::from_secs(10))?);
    assert_eq!(unmanaged(&scene)?.len(), 2);
    session.hang_up()?;
    eventually("who has left is not listed", || Ok((unmanaged(&scene)?.len() == 1).then_some(())))
}
