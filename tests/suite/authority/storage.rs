//! Its storage: what is kept, and whose it is.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{AgentSetup, Authority, Lab, Place};
use serde_json::Value;

use super::{PASSWORD, Story, output};
use crate::scene::text;

const DIRECTORY: &str = "/var/lib/cotter-authority";

fn users(story: &Story) -> Result<Vec<String>> {
    let listed = story.authority.told(&["user", "ls", "--json"], "")?;
    ensure!(listed.status.success(), "{}", output(&listed));
    String::from_utf8(listed.stdout)?
        .lines()
        .map(|line| Ok(text(&serde_json::from_str::<Value>(line)?, "user")?.to_owned()))
        .collect()
}

/// Commands are killed at moments all over their way; the later ones are done by then.
#[test]
fn what_was_acknowledged_is_kept_however_the_command_after_it_ends() -> Result<()> {
    let story = Story::begin("")?;
    let (mut acknowledged, mut killed) = (Vec::new(), 0);
    for number in 0..24u64 {
        let name = format!("user{number}");
        let mut adding = story.authority.begin(&["user", "add", &name, "--role", "open"], PASSWORD)?;
        std::thread::sleep(Duration::from_millis(number * 8));
        match adding.try_wait()? {
            Some(status) if status.success() => acknowledged.push(name),
            Some(status) => anyhow::bail!("user add {name}: {status}"),
            None => {
                adding.kill()?;
                // It may have been done at the last moment.
                if adding.wait()?.success() { acknowledged.push(name) } else { killed += 1 }
            }
        }
    }
    let kept = users(&story)?;
    let lost: Vec<_> = acknowledged.iter().filter(|name| !kept.contains(name)).collect();
    ensure!(lost.is_empty(), "lost: {lost:?}");
    ensure!(killed > 0, "none was killed on its way");
    ensure!(story.authority.log_in(&story.lab.alice(), "alice", PASSWORD)?.status.success(), "it goes on");
    Ok(())
}

#[test]
fn what_root_makes_belongs_to_the_authoritys_account() -> Result<()> {
    let lab = Lab::start()?;
    let node = lab.node();
    node.run("install", &["-d", "-o", "alice", "-g", "alice", "-m", "700", DIRECTORY])?;
    node.run("chown", &["alice:alice", "/var/log/cotter"])?;
    AgentSetup::new("enforce").role("open", &[]).write(&lab)?;
    let mut authority = Authority::start(&lab, "")?;
    authority.add("alice", PASSWORD, &["--role", "open"])?;
    authority.stop()?;
    let foreign =
        node.run("find", &[DIRECTORY, "/var/log/cotter", "-type", "f", "-not", "-user", "alice"])?;
    assert_eq!(foreign, "");
    let config = "/etc/cotter/authority.toml";
    let as_alice = ["--reuid=alice", "--regid=alice", "--clear-groups", "--"];
    let command = ["/usr/sbin/cotter-authority", "--config", config, "user", "add", "bob", "--role", "open"];
    let added = node.output(
        Place::command("sh")
            .args(["-c", "echo a good password | exec setpriv \"$@\"", "sh"])
            .args(as_alice)
            .args(command),
    )?;
    ensure!(added.status.success(), "{}", output(&added));
    Ok(())
}
