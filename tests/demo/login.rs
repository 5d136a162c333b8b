//! Steps: who gets in.

use anyhow::{Result, bail};
use lab::Login;

use crate::stage::{AT_ALICE, AT_ELSEWHERE, Stage, gist};

pub(crate) fn from_the_pinned_address(stage: &mut Stage) -> Result<String> {
    let alice = stage.certificate("alice", "alice", Some(AT_ALICE))?;
    stage
        .screen
        .command("node", format_args!("ssh-keygen -L -f {} | grep -A1 Critical", alice.certificate()));
    let certificate = stage.node().run("ssh-keygen", &["-L", "-f", &alice.certificate()])?;
    let options = certificate.lines().skip_while(|line| !line.contains("Critical")).take(2);
    stage.screen.printed(&options.map(str::trim_start).collect::<Vec<_>>().join("\n"));
    let login = Login::new(&stage.lab.alice(), &alice, "alice");
    stage.gets_in(&login, "echo logged in as $USER from ${SSH_CONNECTION%% *}")?;

    let _session = stage.stays(&login)?;
    let listed = stage.session_of("alice")?;
    stage.administrator(&["sessions"])?;
    if listed["pinned"] != serde_json::json!([AT_ALICE]) {
        bail!("the session is pinned to {}", listed["pinned"]);
    }
    Ok(format!("let in; the kernel holds the session to {AT_ALICE}"))
}

pub(crate) fn stolen_certificate(stage: &mut Stage) -> Result<String> {
    let stolen = stage.certificate("stolen", "alice", Some(AT_ALICE))?;
    stage.gets_in(&Login::new(&stage.lab.alice(), &stolen, "alice"), "echo still good at alice")?;
    stage.is_refused(&Login::new(&stage.lab.elsewhere(), &stolen, "alice"), "pin_mismatch")?;
    Ok("refused: pin_mismatch".to_owned())
}

pub(crate) fn certificate_without_pin(stage: &mut Stage) -> Result<String> {
    let unpinned = stage.certificate("unpinned", "alice", None)?;
    stage.is_refused(&Login::new(&stage.lab.alice(), &unpinned, "alice"), "pin_missing")?;
    Ok("refused: pin_missing".to_owned())
}

pub(crate) fn from_a_new_address(stage: &mut Stage) -> Result<String> {
    stage.screen.say("She has moved to elsewhere, and her authority gives her a certificate for there.");
    let moved = stage.certificate("moved", "alice", Some(AT_ELSEWHERE))?;
    stage.gets_in(&Login::new(&stage.lab.elsewhere(), &moved, "alice"), "echo here now")?;
    let event = stage.agent.event("the login in the audit log", |event| {
        event["event"] == "login_allowed" && event["observed"] == "198.51.222.2"
    })?;
    stage.screen.voice("audit log", &gist(&event));
    Ok(format!("let in; pinned to {AT_ELSEWHERE} now"))
}
