//! Knocks that are not heard, or are for other host keys than sshd's.

use std::net::UdpSocket;

use anyhow::{Context, Result};
use lab::{Knocker, Lab, eventually};

use super::{CONFIG, findings, right_in, with_changed};

#[test]
fn knocks_that_are_heard_for_sshds_own_keys_and_for_others() -> Result<()> {
    let lab = Lab::start()?;
    let knock = Knocker::heard(lab.node(), "")?;
    let scene = right_in(lab, |agent| agent.last(&knock), |sshd| sshd)?;
    let found = findings(&scene)?;
    found.have("knock", "ok", "UDP port 4022; nothing answers there");
    found.have("knock-host-keys", "ok", "sshd's host keys");
    let node = scene.lab.node();
    node.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "/root/other"])?;
    let found = with_changed(&scene, CONFIG, "/etc/cotter/host.pub", "/root/other.pub")?;
    found.have("knock-host-keys", "warning", "who knows the node by it knocks in vain");
    found.have("knock-host-keys", "warning", "which sshd does not have");
    Ok(())
}

#[test]
fn knocks_at_a_port_that_somebody_else_has() -> Result<()> {
    let lab = Lab::start()?;
    let knock = Knocker::heard(lab.node(), "")?;
    let other = lab.node().enter(|| UdpSocket::bind("[::]:4022"))?.context("port 4022")?;
    let scene = right_in(lab, |agent| agent.last(&knock), |sshd| sshd)?;
    eventually("the agent says so", || {
        Ok(scene.agent.json(&["status"])?["knocks"]["error"].is_string().then_some(()))
    })?;
    findings(&scene)?.have("knock", "error", "port 4022: Address already in use");
    drop(other);
    eventually("it listens as soon as it can", || {
        Ok(scene.agent.json(&["status"])?["knocks"]["error"].is_null().then_some(()))
    })
}
