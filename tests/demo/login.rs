//! Steps: who gets in.

use anyhow::{Result, bail};
use lab::{Login, NODE_V4};

use crate::stage::{AT_ALICE, AT_ELSEWHERE, Stage, gist};

pub(crate) fn from_the_pinned_address(stage: &mut Stage) -> Result<String> {
    let alice = stage.logs_in(&stage.alice, "alice")?;
    stage
        .screen
        .command("alice", format_args!("ssh-keygen -L -f {} | grep -A1 Critical", alice.certificate()));
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
    let stolen = stage.alice.identity(&stage.authority);
    stage.gets_in(&Login::new(&stage.lab.alice(), &stolen, "alice"), "echo still good at alice")?;
    stage.is_refused(&Login::new(&stage.lab.elsewhere(), &stolen, "alice"), "pin_mismatch")?;
    Ok("refused: pin_mismatch".to_owned())
}

pub(crate) fn certificate_without_pin(stage: &mut Stage) -> Result<String> {
    let unpinned = stage.logs_in(&stage.deploy, "deploy")?;
    let login = Login::new(&stage.lab.alice(), &unpinned, "bob");
    stage.gets_in(&login, "echo deployed without a pin")?;
    stage.staff_is_pinned_from_now_on()?;
    stage.is_refused(&login, "pin_missing")?;
    stage.logs_in(&stage.deploy, "deploy")?;
    stage.gets_in(&login, "echo deployed")?;
    Ok("refused: pin_missing; a new login gave it one".to_owned())
}

pub(crate) fn from_a_new_address(stage: &mut Stage) -> Result<String> {
    stage.screen.say("She has moved to elsewhere, with her laptop.");
    let target = format!("alice@{NODE_V4}");
    let said = stage.at_her_terminal(&["ssh", &target, "echo here now"])?;
    if !said.contains("your address changed from 198.51.111.1 to 198.51.222.2") {
        bail!("cotter did not say that her address changed");
    }
    if !said.contains("here now") {
        bail!("the command did not run after the new login");
    }
    let event = stage.agent.event("the login in the audit log", |event| {
        event["event"] == "login_allowed" && event["observed"] == "198.51.222.2"
    })?;
    stage.screen.voice("audit log", &gist(&event));
    Ok(format!("led through a new login, and in again; pinned to {AT_ELSEWHERE} now"))
}
