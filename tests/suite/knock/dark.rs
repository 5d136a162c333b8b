//! A node that shows strangers no sshd.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;
use lab::{Knocker, Lab, NODE_V4, Place, eventually};

use super::{accepts, refuses};
use crate::scene::Scene;

/// What does not answer by then does not answer.
const NEVER: Duration = Duration::from_millis(700);

fn dark() -> Result<Scene> {
    let lab = Lab::start()?;
    let knock = Knocker::heard(lab.node(), "[[gate]]\nports = [22]")?;
    Scene::in_lab(lab, "enforce", |agent| agent.last(&knock), |sshd| sshd)
}

/// Whether sshd answers somebody there.
fn answers(place: &Place) -> Result<bool> {
    Ok(place.enter(|| TcpStream::connect_timeout(&SocketAddr::from((NODE_V4, 22)), NEVER))?.is_ok())
}

#[test]
fn sshd_answers_who_has_knocked_and_nobody_else() -> Result<()> {
    let scene = dark()?;
    let (identity, home, elsewhere) = (scene.alice()?, scene.lab.alice(), scene.lab.elsewhere());
    assert!(!answers(&home)? && !answers(&elsewhere)?, "it is not dark");
    let alice = Knocker::new(&home, &identity)?;
    accepts(&scene, &alice, &alice.knock()?)?;
    assert_eq!(scene.at_alice(&identity).succeed("echo in")?, "in\n");
    assert!(!answers(&elsewhere)?);
    let thief = alice.at(&elsewhere);
    refuses(&scene, &thief, &thief.knock()?, "pin_mismatch")?;
    assert!(!answers(&elsewhere)?);
    Ok(())
}

#[test]
fn who_was_let_in_gets_in_and_stays_while_no_agent_is_there() -> Result<()> {
    let mut scene = dark()?;
    let identity = scene.alice()?;
    let alice = Knocker::new(&scene.lab.alice(), &identity)?;
    accepts(&scene, &alice, &alice.knock()?)?;
    let mut session = scene.at_alice(&identity).stay()?;
    scene.agent.kill9()?;
    assert!(answers(&scene.lab.alice())? && !answers(&scene.lab.elsewhere())?);
    assert!(session.echoes("still here", Duration::from_secs(5))?);
    scene.agent.start()?;
    eventually("the next agent hears her", || {
        alice.send(&alice.knock()?)?;
        let accepted = |event: &serde_json::Value| event["event"] == "knock_accepted";
        Ok((scene.agent.events()?.iter().filter(|event| accepted(event)).count() > 1).then_some(()))
    })
}
