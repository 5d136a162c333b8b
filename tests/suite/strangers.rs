//! Strangers who hammer sshd keep nobody else out.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;
use lab::{Login, Order, Place, Process, within};

use crate::scene::{AT_ALICE, PINNING, Scene};

/// Certificates that one connection offers: as many as were once seen.
const OFFERS: usize = 973;

/// Starts an ssh-agent on the strangers' host that holds [`OFFERS`] keys with certificates, none of which will do.
fn hoard(scene: &Scene) -> Result<Process> {
    let host = scene.lab.elsewhere();
    let script = format!(
        "mkdir /root/hoard && cd /root/hoard && for i in $(seq {OFFERS}); do \
         ssh-keygen -q -t ed25519 -N '' -C lab -f k$i; done && \
         ssh-keygen -q -s /root/example/ca -I stranger -n alice -O source-address={AT_ALICE} -O '{PINNING}' k*.pub"
    );
    host.run("sh", &["-c", &script])?;
    let agent = host
        .spawn(Place::command("ssh-agent").args(["-D", "-a", "/root/hoard/socket"]).stdout(Stdio::null()))?;
    let ready = || host.enter(|| std::path::Path::new("/root/hoard/socket").exists());
    within(Duration::from_secs(10), "ssh-agent listens", || Ok(ready()?.then_some(())))?;
    let mut add = String::from("cd /root/hoard && SSH_AUTH_SOCK=socket ssh-add -q");
    for key in 1..=OFFERS {
        write!(add, " k{key}")?;
    }
    host.run("sh", &["-c", &add])?;
    Ok(agent)
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
    let nothing = lab::Identity { key: "/root/hoard/none".into() };
    let stranger = Login::new(&scene.lab.elsewhere(), &nothing, "alice")
        .option("-oIdentityAgent=/root/hoard/socket")
        .option("-oIdentitiesOnly=no");
    std::thread::scope(|scope| {
        let strangers: Vec<_> = (0..3).map(|_| scope.spawn(|| stranger.run("echo in"))).collect();
        let mut logins = 0;
        while !strangers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
            scene.agent.json(&["status"])?;
            logins += 1;
        }
        assert!(logins > 3, "only {logins} logins beside the strangers");
        for stranger in strangers {
            let output = stranger.join().expect("no panic")?;
            assert_eq!(output.status.code(), Some(255), "{output:?}");
        }
        anyhow::Ok(())
    })?;
    let asked = scene.sshd.log()?.matches("Failed publickey for alice").count();
    assert!(asked >= OFFERS, "only {asked} offers were judged");
    let denials = scene.agent.events()?.iter().filter(|event| event["event"] == "login_denied").count();
    assert!(denials < 100, "{denials} denials were reported one by one");
    Ok(())
}

#[test]
fn a_source_that_keeps_being_denied_is_kept_out_for_a_while_but_not_its_live_session() -> Result<()> {
    let scene = Scene::new(
        "enforce",
        |agent| agent.line("penalties = { denials = 3, within_seconds = 60, seconds = 600 }"),
        |sshd| sshd,
    )?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    scene.lab.node().run("mkdir", &["-p", "/root/example/bad"])?;
    let unpinned = scene.ca.issue("bad/alice", &order)?;
    let failing = scene.at_alice(&unpinned).option("-oConnectTimeout=2");
    within(Duration::from_secs(60), "the source is under penalty", || {
        failing.run("echo in")?;
        let listed = scene.agent.json(&["penalties"])?;
        Ok(listed["penalties"].as_array().is_some_and(|list| !list.is_empty()).then_some(()))
    })?;
    let kept_out = failing.run("echo in")?;
    assert!(String::from_utf8_lossy(&kept_out.stderr).contains("timed out"), "{kept_out:?}");
    assert!(session.echoes("still here", Duration::from_secs(5))?);
    scene.agent.told(&["penalties", "clear"])?;
    assert_eq!(scene.at_alice(&scene.bob()?).succeed("echo in")?, "in\n");
    Ok(())
}
