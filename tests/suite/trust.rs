//! Files that decide over logins count only if nobody but root can have written them.

use anyhow::Result;
use lab::eventually;
use rustix::process::Signal;

use crate::scene::{Scene, text};

/// One file of each kind that the agent reads.
const FILES: [&str; 3] =
    ["/etc/cotter/agent.toml", "/etc/cotter/roles.d/pinned-ip.yaml", "/etc/cotter/ca/example.com.pub"];

#[test]
fn a_file_that_others_may_write_keeps_the_agent_from_starting_and_is_named() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    for file in FILES {
        for (spoil, mend) in [(["chmod", "o+w"], ["chmod", "o-w"]), (["chown", "alice"], ["chown", "root"])] {
            scene.lab.node().run(spoil[0], &[spoil[1], file])?;
            scene.agent.kill9()?;
            let said = scene.agent.log()?.len();
            scene.agent.launch()?;
            let status = eventually("the agent gives up", || scene.agent.exit_status())?;
            assert_eq!(status.code(), Some(2), "{file}: {spoil:?}");
            let log = scene.agent.log()?.split_off(said);
            assert!(log.contains(file), "{file}: {spoil:?}: {log}");
            scene.lab.node().run(mend[0], &[mend[1], file])?;
        }
    }
    scene.agent.kill9()?;
    scene.agent.start()
}

#[test]
fn a_file_that_others_may_write_is_refused_at_a_reload_and_the_old_set_stays() -> Result<()> {
    let scene = Scene::enforcing()?;
    let alice = scene.alice()?;
    for file in FILES {
        scene.lab.node().run("chmod", &["g+w", file])?;
        scene.agent.signal(Signal::HUP)?;
        let refused = eventually("the reload is refused", || {
            let status = scene.agent.json(&["status"])?;
            Ok(status["reload_error"].as_str().filter(|error| error.contains(file)).map(str::to_owned))
        })?;
        assert!(refused.contains("root"), "{refused}");
        assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
        scene.lab.node().run("chmod", &["g-w", file])?;
    }
    scene.agent.signal(Signal::HUP)?;
    let event = scene.agent.event("reloaded", |event| event["event"] == "reloaded")?;
    assert!(!text(&event, "hash")?.is_empty());
    Ok(())
}
