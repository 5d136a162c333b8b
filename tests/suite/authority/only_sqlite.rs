//! What there is with SQLite alone: a file, which can be copied, spoilt, shown to others, and fill the disk.

use anyhow::{Result, ensure};
use lab::{AgentSetup, Authority, Lab, Storage};

use super::{PASSWORD, Story, output};
use crate::scene::text;

const DIRECTORY: &str = "/var/lib/cotter-authority";
const FILE: &str = "/var/lib/cotter-authority/authority.db";

#[test]
fn the_file_is_its_owners_alone_and_another_one_is_not_used() -> Result<()> {
    let mut story = Story::on(Storage::Sqlite, "")?;
    let node = story.lab.node();
    for file in ["authority.db", "ca", "tls/key.pem"] {
        assert_eq!(node.run("stat", &["-c", "%a", &format!("{DIRECTORY}/{file}")])?, "600\n", "{file}");
    }
    story.authority.stop()?;
    node.run("chmod", &["644", FILE])?;
    let refused = story.authority.told(&["user", "ls"], "")?;
    assert_eq!(refused.status.code(), Some(3));
    ensure!(
        output(&refused).contains(FILE) && output(&refused).contains("chmod 600"),
        "{}",
        output(&refused)
    );
    Ok(())
}

#[test]
fn a_backup_is_whole_while_people_log_in_and_takes_the_files_place() -> Result<()> {
    let mut story = Story::on(Storage::Sqlite, "")?;
    let (node, home) = (story.lab.node().clone(), story.lab.alice());
    let copied = story.authority.told(&["backup", "/root/backup.db"], "")?;
    ensure!(copied.status.success(), "{}", output(&copied));
    assert_eq!(node.run("stat", &["-c", "%a", "/root/backup.db"])?, "600\n");
    let again = story.authority.told(&["backup", "/root/backup.db"], "")?;
    assert_eq!(again.status.code(), Some(3));
    ensure!(output(&again).contains("/root/backup.db"), "{}", output(&again));
    story.authority.stop()?;
    node.run("sh", &["-c", &format!("rm {FILE}* && cp -p /root/backup.db {FILE}")])?;
    story.authority.restart()?;
    let login = story.authority.log_in(&home, "alice", PASSWORD)?;
    ensure!(login.status.success(), "{}", output(&login));
    Ok(())
}

#[test]
fn a_full_disk_is_named_in_the_trail_and_nowhere_else_and_once_there_is_room_all_goes_on() -> Result<()> {
    let lab = Lab::start()?;
    let node = lab.node();
    node.run("install", &["-d", "-m", "700", DIRECTORY])?;
    node.run("mount", &["-t", "tmpfs", "-o", "size=1m,mode=700", "small", DIRECTORY])?;
    AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]).write(&lab)?;
    let authority = Authority::on(Storage::Sqlite, &lab, "")?;
    authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
    // The shell's complaint is that there is no room left, which is what was asked for.
    node.run("sh", &["-c", &format!("cat /dev/zero >{DIRECTORY}/filler 2>/dev/null || true")])?;
    let home = lab.alice();
    let said = output(&authority.log_in(&home, "alice", PASSWORD)?);
    ensure!(said.contains("the authority's storage does not answer; nothing was issued"), "{said}");
    ensure!(!said.contains(DIRECTORY), "{said}");
    let denied = authority.event("the denial", |event| event["reason"] == "storage_unavailable")?;
    ensure!(text(&denied, "error")?.starts_with(FILE), "{denied}");
    let added = authority.told(&["user", "add", "bob", "--role", "pinned-ip"], PASSWORD)?;
    assert_eq!(added.status.code(), Some(3));
    ensure!(output(&added).contains(FILE), "{}", output(&added));
    node.run("rm", &[&format!("{DIRECTORY}/filler")])?;
    let login = authority.log_in(&home, "alice", PASSWORD)?;
    ensure!(login.status.success(), "{}", output(&login));
    Ok(())
}

#[test]
fn a_corrupt_file_is_named_and_never_taken_for_an_empty_one() -> Result<()> {
    let mut story = Story::on(Storage::Sqlite, "")?;
    let node = story.lab.node().clone();
    story.authority.stop()?;
    let spoil =
        format!("rm -f {FILE}-wal {FILE}-shm && dd if=/dev/urandom of={FILE} bs=4096 count=2 conv=notrunc");
    node.run("sh", &["-c", &spoil])?;
    for command in [&["user", "ls"][..], &["run"], &["backup", "/root/backup.db"]] {
        let refused = story.authority.told(command, "")?;
        assert_eq!(refused.status.code(), Some(3), "{command:?}: {}", output(&refused));
        ensure!(output(&refused).contains(FILE), "{}", output(&refused));
    }
    Ok(())
}
