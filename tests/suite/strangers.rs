//! Strangers who hammer sshd keep nobody else out.

use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;
use lab::{Login, Order, Place, Process, within};

use crate::scene::{PINNING, Scene};

/// Certificates that one connection offers: as many as OpenSSH's client can be brought to. It takes 256 KiB of them from
/// its agent, and 100 from its command line.
const OFFERS: usize = BY_AGENT + BY_FILE;
const BY_AGENT: usize = 820;
const BY_FILE: usize = 99;

/// Makes the keys and certificates that strangers offer on their host, none of which will do, and an ssh-agent that
/// holds most of them.
fn hoard(scene: &Scene) -> Result<Process> {
    let host = scene.lab.elsewhere();
    // Short certificates: without the usual extensions, and so without a role.
    let sign = "ssh-keygen -q -s /root/example/ca -I s -n alice -O clear";
    let script = format!(
        "mkdir /root/hoard && cd /root/hoard && \
         for i in $(seq {BY_AGENT}); do ssh-keygen -q -t ed25519 -N '' -C s -f a$i; done && {sign} a*.pub && \
         for i in $(seq {BY_FILE}); do ssh-keygen -q -t ed25519 -N '' -C s -f k$i; done && {sign} k*.pub"
    );
    host.run("sh", &["-c", &script])?;
    let agent = host
        .spawn(Place::command("ssh-agent").args(["-D", "-a", "/root/hoard/socket"]).stdout(Stdio::null()))?;
    let ready = || host.enter(|| std::path::Path::new("/root/hoard/socket").exists());
    within(Duration::from_secs(10), "ssh-agent listens", || Ok(ready()?.then_some(())))?;
    let mut add = String::from("cd /root/hoard && SSH_AUTH_SOCK=socket ssh-add -q");
    for key in 1..=BY_AGENT {
        add.push_str(&format!(" a{key}"));
    }
    host.run("sh", &["-c", &add])?;
    keep_only_certificates(&host)?;
    Ok(agent)
}

/// Has the ssh-agent forget the bare keys, which it takes in along with their certificates.
fn keep_only_certificates(host: &Place) -> Result<()> {
    /// Length of an Ed25519 public key in ssh's encoding.
    const KEY: usize = 51;
    const REMOVE_IDENTITY: u8 = 18;
    let keys = "for key in /root/hoard/a*[0-9].pub; do cut -d' ' -f2 $key | base64 -d; done";
    let keys = host.output(Place::command("sh").args(["-c", keys]))?.stdout;
    let mut socket = host.enter(|| UnixStream::connect("/root/hoard/socket"))??;
    for key in keys.chunks_exact(KEY) {
        socket.write_all(&[0, 0, 0, 5 + KEY as u8, REMOVE_IDENTITY, 0, 0, 0, KEY as u8])?;
        socket.write_all(key)?;
        let mut success = [0; 5];
        socket.read_exact(&mut success)?;
        anyhow::ensure!(success == [0, 0, 0, 1, 6], "ssh-agent answers {success:?}");
    }
    Ok(())
}

/// A login that offers all of it.
fn stranger(scene: &Scene) -> Login {
    let first = lab::Identity { key: "/root/hoard/k1".into() };
    let mut login = Login::new(&scene.lab.elsewhere(), &first, "alice")
        .option("-oIdentityAgent=/root/hoard/socket")
        .option("-oIdentitiesOnly=no");
    for key in 2..=BY_FILE {
        login = login.option(&format!("-i/root/hoard/k{key}"));
    }
    for key in 1..=BY_FILE {
        login = login.option(&format!("-oCertificateFile=/root/hoard/k{key}-cert.pub"));
    }
    login
}

#[test]
fn hundreds_of_queries_in_each_of_several_connections_keep_nobody_out() -> Result<()> {
    let scene = Scene::new(
        "enforce",
        // The strangers' host is to go on offering, not to be kept out.
        |agent| agent.line("penalties = { denials = 0 }"),
        |sshd| sshd.line("MaxAuthTries 3000"),
    )?;
    let _hoard = hoard(&scene)?;
    let alice = scene.alice()?;
    let stranger = stranger(&scene);
    std::thread::scope(|scope| {
        let strangers: Vec<_> = (0..3).map(|_| scope.spawn(|| stranger.run("echo in"))).collect();
        let mut logins = 0;
        while !strangers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
            scene.agent.json(&["status"])?;
            logins += 1;
        }
        for stranger in strangers {
            let output = stranger.join().expect("no panic")?;
            assert_eq!(output.status.code(), Some(255), "{output:?}");
        }
        assert!(logins > 3, "only {logins} logins beside the strangers: {}", scene.sshd.log()?);
        anyhow::Ok(())
    })?;
    let asked = scene.sshd.log()?.matches("ssh2: ED25519-CERT").count();
    assert!(asked >= 3 * OFFERS, "only {asked} certificates were judged");
    let denials = scene.agent.events()?.iter().filter(|event| event["event"] == "login_denied").count();
    assert!(denials < 100, "{denials} denials were reported one by one");
    Ok(())
}

/// What makes three denials within a minute earn a penalty that outlasts the test.
const STRICT: &str = "penalties = { denials = 3, within_seconds = 60, seconds = 600 }";

/// A login that is denied each time it is tried.
fn failing(scene: &Scene, place: &Place) -> Result<Login> {
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let unpinned = scene.ca.issue("unpinned", &order)?;
    Ok(Login::new(place, &unpinned, "alice").option("-oConnectTimeout=2"))
}

#[test]
fn a_source_that_keeps_being_denied_is_kept_out_until_its_penalty_is_cleared() -> Result<()> {
    let scene = Scene::new("enforce", |agent| agent.line(STRICT), |sshd| sshd)?;
    let failing = failing(&scene, &scene.lab.elsewhere())?;
    within(Duration::from_secs(60), "the source is under penalty", || {
        failing.run("echo in")?;
        let listed = scene.agent.json(&["penalties"])?;
        Ok(listed.as_array().is_some_and(|list| !list.is_empty()).then_some(()))
    })?;
    let bob = scene.bob()?;
    let kept_out = scene.at_elsewhere(&bob).option("-oConnectTimeout=2").run("echo in")?;
    assert!(String::from_utf8_lossy(&kept_out.stderr).contains("timed out"), "{kept_out:?}");
    assert_eq!(scene.at_alice(&bob).succeed("echo in")?, "in\n");
    scene.agent.told(&["penalties", "clear"])?;
    assert_eq!(scene.at_elsewhere(&bob).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn a_source_with_a_live_session_is_never_under_penalty() -> Result<()> {
    let scene = Scene::new("enforce", |agent| agent.line(STRICT), |sshd| sshd)?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    let failing = failing(&scene, &scene.lab.alice())?;
    for _ in 0..5 {
        assert_eq!(failing.run("echo in")?.status.code(), Some(255));
    }
    assert_eq!(scene.agent.json(&["penalties"])?, serde_json::json!([]));
    assert!(session.echoes("still here", Duration::from_secs(5))?);
    Ok(())
}
