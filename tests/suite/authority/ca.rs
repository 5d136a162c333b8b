//! Keys: several at once, one after the other, behind an ssh-agent.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use lab::{AgentSetup, Authority, Lab, NODE_V4, Place, Process, SshdSetup, Storage, eventually};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::{PASSWORD, Story, output};
use crate::scene::text;

const SOCKET: &str = "/run/keeper.sock";
const KEY: &str = "/root/keeper/ca";

/// A real ssh-agent that has a key.
pub(super) struct Keeper {
    node: Place,
    process: Process,
}

impl Keeper {
    fn start(lab: &Lab, kind: &str) -> Result<Self> {
        let node = lab.node().clone();
        let mut command = Place::command("ssh-agent");
        command.args(["-D", "-a", SOCKET]).stdout(Stdio::null()).stderr(Stdio::null());
        let process = node.spawn(&mut command)?;
        eventually("the ssh-agent is there", || {
            Ok(node.enter(|| std::path::Path::new(SOCKET).exists())?.then_some(()))
        })?;
        node.run("install", &["-d", "-m", "700", "/root/keeper"])?;
        node.run("ssh-keygen", &["-q", "-t", kind, "-N", "", "-f", KEY])?;
        let keeper = Self { node, process };
        keeper.add(&[KEY])?;
        Ok(keeper)
    }

    /// `ssh-add` with these arguments.
    fn add(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Place::command("ssh-add");
        let added = self.node.output(command.arg("-q").args(arguments).env("SSH_AUTH_SOCK", SOCKET))?;
        ensure!(added.status.success(), "{}", output(&added));
        Ok(())
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.process.pid()?, signal)?)
    }

    /// Whether somebody waits to be accepted.
    pub(super) fn is_asked(&self) -> Result<bool> {
        let listeners = self.node.run("ss", &["-xlH"])?;
        let own = listeners.lines().find(|line| line.contains(SOCKET)).context("no socket")?;
        Ok(own.split_whitespace().nth(2).context("no queue")? != "0")
    }
}

/// The whole story with a key that only an ssh-agent has.
pub(super) fn story_with_an_ssh_agent(kind: &str) -> Result<(Story, Keeper)> {
    let lab = Lab::start()?;
    let keeper = Keeper::start(&lab, kind)?;
    // The authority has no way to it but the agent.
    lab.node().run("mv", &[KEY, "/root/.ssh/away"])?;
    let line = format!("ca_keys = [{{ public = \"{KEY}.pub\", agent = \"{SOCKET}\" }}]\n");
    Ok((Story::in_lab(lab, Storage::chosen()?, &line)?, keeper))
}

fn goes_in(from: &Place) -> Result<()> {
    let ssh = Authority::client(from, &["ssh", &format!("alice@{NODE_V4}"), "echo in"])?;
    ensure!(ssh.status.success() && output(&ssh) == "in\n", "{}", output(&ssh));
    Ok(())
}

#[test]
fn an_ssh_agent_signs_what_nodes_accept_with_ed25519() -> Result<()> {
    signs_what_nodes_accept("ed25519")
}

#[test]
fn an_ssh_agent_signs_what_nodes_accept_with_ecdsa() -> Result<()> {
    signs_what_nodes_accept("ecdsa")
}

#[test]
fn an_ssh_agent_signs_what_nodes_accept_with_rsa() -> Result<()> {
    signs_what_nodes_accept("rsa")
}

fn signs_what_nodes_accept(kind: &str) -> Result<()> {
    let (story, _keeper) = story_with_an_ssh_agent(kind)?;
    let home = story.lab.alice();
    let login = story.authority.log_in(&home, "alice", PASSWORD)?;
    ensure!(login.status.success(), "{}", output(&login));
    goes_in(&home)
}

#[test]
fn an_ssh_agent_that_hangs_refuses_or_is_gone_is_given_up_with_a_clear_word() -> Result<()> {
    let (story, keeper) = story_with_an_ssh_agent("ed25519")?;
    let home = story.lab.alice();
    let refused = |why: &str| -> Result<()> {
        let login = story.authority.log_in(&home, "alice", PASSWORD)?;
        let said = output(&login);
        ensure!(said.contains("the authority's signing key does not answer; nothing was issued"), "{said}");
        ensure!(!said.contains(SOCKET), "{said}");
        story.authority.event(why, |event| {
            event["reason"] == "signer_unavailable"
                && text(event, "error").is_ok_and(|error| error.contains(SOCKET) && error.contains(why))
        })?;
        Ok(())
    };
    keeper.signal(Signal::STOP)?;
    refused("no answer within 5 s")?;
    keeper.signal(Signal::CONT)?;
    keeper.add(&["-D"])?;
    refused("it refuses")?;
    keeper.add(&["/root/.ssh/away"])?;
    let login = story.authority.log_in(&home, "alice", PASSWORD)?;
    ensure!(login.status.success(), "{}", output(&login));
    drop(keeper);
    refused("refused")
}

#[test]
fn keys_that_cannot_sign_are_named_before_anything_starts() -> Result<()> {
    let mut story = Story::begin("")?;
    story.authority.stop()?;
    let node = story.lab.node();
    node.run("install", &["-d", "-m", "700", "/root/keeper"])?;
    node.run("ssh-keygen", &["-q", "-t", "rsa", "-N", "", "-f", "/root/keeper/rsa"])?;
    node.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "secret", "-f", "/root/keeper/closed"])?;
    node.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "/root/keeper/open"])?;
    node.run("chmod", &["640", "/root/keeper/open"])?;
    for (keys, said) in [
        ("\"/root/keeper/rsa\"", "/root/keeper/rsa: an RSA key signs only from within an ssh-agent"),
        ("\"/root/keeper/closed\"", "/root/keeper/closed: the key has a passphrase"),
        ("\"/root/keeper/open\"", "/root/keeper/open: others may read it"),
        ("\"/root/keeper/none\"", "/root/keeper/none: No such file"),
        ("", "ca_keys: no key"),
        ("{ public = \"/root/keeper/rsa.pub\", agnet = \"/run/x\" }", "neither the path of a key nor"),
    ] {
        story.authority.configure(&format!("ca_keys = [{keys}]\n"))?;
        for command in [&["run"][..], &["config", "check"]] {
            let refused = story.authority.told(command, "")?;
            assert_eq!(refused.status.code(), Some(2), "{keys}: {}", output(&refused));
            ensure!(output(&refused).contains(said), "{keys}: {}", output(&refused));
        }
    }
    Ok(())
}

/// The procedure of docs/authority.md, step by step.
#[test]
fn a_rotation_locks_nobody_out() -> Result<()> {
    const OLD: &str = "/var/lib/cotter-authority/ca";
    const NEW: &str = "/var/lib/cotter-authority/ca-2";
    let lab = Lab::start()?;
    let setup = AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]);
    setup.write(&lab)?;
    let authority = Authority::start(&lab, "")?;
    authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
    let home = lab.alice();

    let reload = |keys: &str| -> Result<()> {
        authority.configure(&format!("ca_keys = [{keys}]\n"))?;
        authority.signal(Signal::HUP)?;
        let listed = authority.told(&["ca", "export", "--json"], "")?;
        let fingerprints = authority.told(&["config", "check", "--json"], "")?;
        let expected: Value = serde_json::from_slice(&fingerprints.stdout)?;
        authority.event("the reload", |event| {
            event["event"] == "reloaded" && event["ca_keys"] == expected["ca_keys"]
        })?;
        ensure!(listed.status.success(), "{}", output(&listed));
        Ok(())
    };
    let signer = |serial: u64| -> Result<String> {
        let issued = |event: &Value| event["event"] == "certificate_issued" && event["serial"] == serial;
        Ok(text(&authority.event("a certificate", issued)?, "ca")?.to_owned())
    };

    // Logged in by the old key, which stays alone in force until the new one is known everywhere.
    ensure!(authority.log_in(&home, "alice", PASSWORD)?.status.success());
    let by_old = signer(1)?;
    let made = authority.told(&["ca", "new", NEW], "")?;
    ensure!(made.status.success(), "{}", output(&made));
    reload(&format!("\"{OLD}\", \"{NEW}\""))?;
    let exported = authority.told(&["ca", "export"], "")?;
    let both = lab::Ca::known(lab.node(), "both", String::from_utf8(exported.stdout)?.trim_end())?;
    assert_eq!(both.public_key()?.trim().lines().count(), 2);
    let _agent = setup.cluster("example.com", &both, "roles_from = \"cotter\"")?.start(&lab)?;
    let _sshd = SshdSetup::with_cotter(&both)?.start(&lab)?;
    goes_in(&home)?;
    ensure!(authority.log_in(&home, "alice", PASSWORD)?.status.success());
    assert_eq!(signer(2)?, by_old, "the old key signs yet");
    goes_in(&home)?;

    reload(&format!("\"{NEW}\", \"{OLD}\""))?;
    // The old certificate is good as before; and so is one by the new key.
    goes_in(&home)?;
    ensure!(authority.log_in(&home, "alice", PASSWORD)?.status.success());
    ensure!(signer(3)? != by_old, "the new key signs");
    goes_in(&home)?;

    reload(&format!("\"{NEW}\""))?;
    goes_in(&home)
}
