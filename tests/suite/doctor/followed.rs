//! What is wrong with following an authority.

use anyhow::Result;
use lab::{Authority, eventually};
use rustix::process::Signal;

use super::{CONFIG, findings, right, with_changed};

#[test]
fn an_authority_that_is_away_or_known_by_its_signature_alone() -> Result<()> {
    let scene = right(|agent| agent)?;
    let mut authority = Authority::start(&scene.lab, "")?;
    let fingerprint = format!("fingerprint = \"{}\"\n", authority.fingerprint());
    let (url, key) = (authority.url(), authority.policy_key()?);
    let table = format!("\n[authority]\nurl = \"{url}\"\nkey = \"{key}\"\n{fingerprint}");
    let config = scene.lab.node().read(CONFIG)?;
    scene.lab.node().write(CONFIG, &format!("{config}{table}"))?;
    scene.agent.signal(Signal::HUP)?;
    scene.agent.event("its policy", |event| event["event"] == "policy_followed")?;
    let found = findings(&scene)?;
    found.have("followed", "ok", &url);
    found.have("followed-trust", "ok", &url);
    with_changed(&scene, CONFIG, &fingerprint, "")?.have("followed-trust", "warning", "hold back new locks");
    authority.kill9()?;
    eventually("the agent notices", || {
        let found = findings(&scene)?;
        Ok(found.troubles().iter().any(|it| it["id"] == "followed").then_some(()))
    })?;
    findings(&scene)?.have("followed", "warning", "cannot be reached");
    Ok(())
}
