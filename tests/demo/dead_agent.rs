//! Steps: the agent dies and comes back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use lab::{Capture, Login, counter, eventually};

use crate::stage::Stage;

/// How many packets the client is to waste on the dropped session before the counts are compared.
const ENOUGH: u64 = 5;

pub(crate) fn the_kernel_goes_on(stage: &mut Stage) -> Result<String> {
    let brief = stage.logs_in(&stage.bob, "bob")?;
    let mut session = stage.stays(&Login::new(&stage.lab.alice(), &brief, "bob"))?;
    let listed = stage.session_of("bob")?;
    let id = listed["id"].as_str().context("the session has no id")?.to_owned();
    let end = UNIX_EPOCH + Duration::from_secs(listed["ends_at"].as_u64().context("the session has no end")?);
    stage.screen.command("node", "kill -9 $(pidof cotter-agent)");
    stage.agent.kill9()?;
    if !session.echoes("nobody watches", Duration::from_secs(5))? {
        bail!("the session does not answer before its end");
    }
    stage.screen.say("no agent runs, and the session goes on; waiting for its certificate's last second …");
    eventually("the deadline", || Ok((SystemTime::now() > end + Duration::from_secs(1)).then_some(())))?;

    let sent = Capture::of_sent(&stage.lab.alice(), "eth0", "tcp dst port 22")?;
    let before = counter::dropped_of_session(stage.node(), &id)?;
    session.send("one byte too late")?;
    stage.screen.say("bob's ssh sends, and sends again; counting at his end and in the pinned map …");
    let dropped = eventually("the map's counter grows by the packets sent", || {
        let dropped = counter::dropped_of_session(stage.node(), &id)? - before;
        Ok((dropped >= ENOUGH && dropped == sent.packets()).then_some(dropped))
    })?;
    stage.screen.command("node", "cat /home/bob/heard");
    let heard = stage.node().read("/home/bob/heard")?;
    stage.screen.printed(&heard);
    if heard.contains("too late") || session.hear(Duration::ZERO)?.is_some() {
        bail!("a byte came through");
    }
    Ok(format!("not one byte came through: {dropped} packets sent, {dropped} dropped"))
}

pub(crate) fn a_new_agent_takes_over(stage: &mut Stage) -> Result<String> {
    stage.agent.ensure_runs()?;
    let alice = stage.alice.identity(&stage.authority);
    let mut session = stage.stays(&Login::new(&stage.lab.alice(), &alice, "alice"))?;
    let before = stage.session_of("alice")?;
    stage.screen.command("node", "kill -9 $(pidof cotter-agent)");
    stage.agent.kill9()?;
    stage.screen.command("node", "cotter-agent run");
    stage.agent.start()?;
    stage.administrator(&["sessions"])?;
    let after = stage.session_of("alice")?;
    if before["id"] != after["id"] || before["pinned"] != after["pinned"] {
        bail!("alice's session was {before} and is {after}");
    }
    if !session.echoes("still here", Duration::from_secs(5))? {
        bail!("alice's session does not answer");
    }
    Ok("alice's session is still known, and still works".to_owned())
}
