//! Steps: who is thrown out.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use lab::{Login, eventually, within};
use serde_json::Value;

use crate::stage::Stage;

/// How soon a cut must reach the client.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(crate) fn by_lock(stage: &mut Stage) -> Result<String> {
    let login = Login::new(&stage.lab.alice(), &stage.alice.identity(&stage.authority), "alice");
    let mut session = stage.stays(&login)?;
    stage.session_of("alice")?;
    let start = Instant::now();
    let lock = ["lock", "--user", "alice", "--for", "1h", "--reason", "stolen laptop", "--json"];
    let lock: Value = serde_json::from_str(&stage.authority_says(&lock)?)?;
    let status = within(AT_ONCE, "alice's ssh ends", || session.ended())?;
    let noticed = start.elapsed();
    stage.screen.say(&format!(
        "alice's ssh has ended ({status}), {} ms after the command was given",
        noticed.as_millis()
    ));
    stage.is_refused(&login, "locked")?;
    let id = lock["lock"]["id"].as_str().context("no id of the lock")?;
    stage.authority_says(&["unlock", id])?;
    eventually("the node has let go of the lock", || {
        Ok(stage.agent.json(&["locks"])?.as_array().is_some_and(Vec::is_empty).then_some(()))
    })?;
    Ok(format!("cut; the client noticed within {} ms", noticed.as_millis()))
}

pub(crate) fn by_expiry(stage: &mut Stage) -> Result<String> {
    let brief = stage.logs_in(&stage.bob, "bob")?;
    let mut session = stage.stays(&Login::new(&stage.lab.alice(), &brief, "bob"))?;
    let ends_at = stage.session_of("bob")?["ends_at"].as_u64().context("the session has no end")?;
    let end = UNIX_EPOCH + Duration::from_secs(ends_at);
    stage.administrator(&["sessions"])?;
    if !session.echoes("in time", Duration::from_secs(5))? {
        bail!("the session does not answer before its end");
    }
    stage.screen.say("waiting for the certificate's last second …");
    eventually("bob's ssh ends", || session.ended())?;
    let late = SystemTime::now().duration_since(end).context("it ended before its time")?;
    if late > AT_ONCE {
        bail!("the client noticed {} ms after the certificate's end", late.as_millis());
    }
    Ok(format!("cut at its second; the client noticed {} ms later", late.as_millis()))
}
