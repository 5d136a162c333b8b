//! Its storage: what is kept, copied, refused, and what happens where there is no room.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cotter_authority::store::{Location, Person, Store};
use lab::{AgentSetup, Authority, Lab, Place, Postgres, Storage, eventually};
use serde_json::Value;

use super::{PASSWORD, Story, on_each_storage, output};
use crate::scene::text;

const DIRECTORY: &str = "/var/lib/cotter-authority";
const FILE: &str = "/var/lib/cotter-authority/authority.db";

on_each_storage! {
    what_was_acknowledged_is_kept_however_the_command_after_it_ends
    a_code_and_a_serial_number_count_once_however_many_ask_at_once
}

fn users(story: &Story) -> Result<Vec<String>> {
    let listed = story.authority.told(&["user", "ls", "--json"], "")?;
    ensure!(listed.status.success(), "{}", output(&listed));
    String::from_utf8(listed.stdout)?
        .lines()
        .map(|line| Ok(text(&serde_json::from_str::<Value>(line)?, "user")?.to_owned()))
        .collect()
}

/// Commands are killed at moments all over their way; the later ones are done by then.
fn what_was_acknowledged_is_kept_however_the_command_after_it_ends(storage: Storage) -> Result<()> {
    let story = Story::begin(storage, "")?;
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

/// The store itself, asked from many sides at once.
fn a_code_and_a_serial_number_count_once_however_many_ask_at_once(storage: Storage) -> Result<()> {
    match storage {
        Storage::Sqlite => {
            let directory = tempfile::tempdir()?;
            ask_from_many_sides(&Location::Sqlite(directory.path().join("authority.db")))
        }
        Storage::Postgres => {
            let lab = Lab::start()?;
            let _postgres = Postgres::start(&lab)?;
            lab.node().enter(|| ask_from_many_sides(&Location::Postgres(Postgres::url())))?
        }
    }
}

fn ask_from_many_sides(location: &Location) -> Result<()> {
    let person = Person {
        name: "alice".into(),
        password: None,
        totp: None,
        roles: vec!["open".into()],
        logins: Vec::new(),
        locked: false,
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let store = Store::open(location).await?;
        store.add_person(&person, 1).await?;
        ensure!(store.add_person(&person, 1).await.is_err(), "there is one of that name");
        assert_eq!(store.person("alice").await?.as_ref(), Some(&person));
        assert_eq!(store.person("Alice").await?, None);
        let asking: Vec<_> = (0..40)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(
                    async move { (store.certify("alice", 1).await, store.use_step("alice", 7).await) },
                )
            })
            .collect();
        let (mut serials, mut used) = (Vec::new(), 0);
        for answer in asking {
            let (serial, step) = answer.await?;
            serials.extend(serial?);
            used += u32::from(step?);
        }
        serials.sort_unstable();
        assert_eq!(serials, (1..=40).collect::<Vec<u64>>());
        assert_eq!(used, 1);
        Ok(())
    })
}

#[test]
fn the_file_is_its_owners_alone_and_another_one_is_not_used() -> Result<()> {
    let mut story = Story::begin(Storage::Sqlite, "")?;
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

#[test]
fn a_backup_is_whole_while_people_log_in_and_takes_the_files_place() -> Result<()> {
    let mut story = Story::begin(Storage::Sqlite, "")?;
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
    let authority = Authority::start(&lab, "")?;
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
    let mut story = Story::begin(Storage::Sqlite, "")?;
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

#[test]
fn a_server_that_hangs_or_is_gone_is_given_up_and_once_it_is_back_all_goes_on() -> Result<()> {
    let mut story = Story::begin(Storage::Postgres, "")?;
    let home = story.lab.alice();
    let server = story.postgres.take().context("no server")?;
    server.pause()?;
    let said = output(&story.authority.log_in(&home, "alice", PASSWORD)?);
    ensure!(said.contains("nothing was issued"), "{said}");
    server.resume()?;
    eventually("logins work again", || {
        let login = story.authority.log_in(&home, "alice", PASSWORD)?;
        Ok(login.status.success().then_some(()))
    })?;
    drop(server);
    let said = output(&story.authority.log_in(&home, "alice", PASSWORD)?);
    ensure!(said.contains("the authority's storage does not answer; nothing was issued"), "{said}");
    let denied = story.authority.event("the denial", |event| event["reason"] == "storage_unavailable")?;
    ensure!(text(&denied, "error")?.starts_with("postgres:///postgres?host="), "{denied}");
    Ok(())
}
