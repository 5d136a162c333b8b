//! What an account's own systemd has started, with or without a session being there.

use std::path::PathBuf;

use anyhow::Result;
use lab::{NODE_V4, Order, Place, Process, eventually};

use super::{Endpoints, NEVER, SERVER, SOON, UDP, datagram_comes_back};

/// A node that gives sessions scopes beside the service of their account's systemd, as logind does.
struct Node {
    endpoints: Endpoints,
    /// A cgroup of the systemd of alice's account.
    manager: PathBuf,
}

impl Node {
    fn new() -> Result<Self> {
        let endpoints = Endpoints::new()?;
        let lab = &endpoints.scene.lab;
        let uid = lab.node().run("id", &["-u", "alice"])?;
        let slice = lab.sessions_directory()?.join(format!("user-{}.slice", uid.trim()));
        let manager = slice.join(format!("user@{}.service/app.slice", uid.trim()));
        lab.node().run("mkdir", &["-p", &manager.to_string_lossy()])?;
        lab.make_scopes_in(&slice)?;
        Ok(Self { endpoints, manager })
    }

    /// A server as the account's systemd runs it.
    fn serves(&self, port: u16) -> Result<Process> {
        let node = self.endpoints.scene.lab.node();
        let into = self.manager.join("cgroup.procs");
        let start = format!(
            "echo $$ >{} && exec setpriv --reuid alice --clear-groups /usr/bin/python3 {SERVER} udp {port}",
            into.display()
        );
        let server = node.spawn(Place::command("sh").args(["-c", &start]))?;
        eventually("the server serves", || {
            let there = datagram_comes_back(node, (NODE_V4, port), NEVER)?;
            Ok(there.then_some(()))
        })?;
        Ok(server)
    }

    fn elsewhere_reaches(&self, port: u16) -> Result<bool> {
        datagram_comes_back(&self.endpoints.scene.lab.elsewhere(), (NODE_V4, port), NEVER)
    }
}

#[test]
fn what_an_accounts_own_systemd_runs_is_held_to_where_its_sessions_are() -> Result<()> {
    let node = Node::new()?;
    let scene = &node.endpoints.scene;
    let _lingering = node.serves(UDP)?;
    assert!(node.elsewhere_reaches(UDP)?, "nobody has logged in");

    let alice = scene.alice()?;
    let mut session = scene.at_alice(&alice).stay()?;
    eventually("what ran before is held too", || Ok((!node.elsewhere_reaches(UDP)?).then_some(())))?;
    node.endpoints.only_alice_reaches(UDP)?;
    let _started = node.serves(UDP + 1)?;
    node.endpoints.only_alice_reaches(UDP + 1)?;

    session.hang_up()?;
    scene.deserted()?;
    node.endpoints.only_alice_reaches(UDP)?;

    // A session that may be anywhere opens nothing for the others; it is another matter if there is no other.
    let order = Order { options: &[crate::scene::OPEN], ..Order::login("alice", &["alice"]) };
    let open = scene.ca.issue("alice-open", &order)?;
    let mut pinned = scene.at_alice(&alice).stay()?;
    let _anywhere = scene.at_alice(&open).stay()?;
    node.endpoints.only_alice_reaches(UDP)?;
    pinned.hang_up()?;
    eventually("only the one that may be anywhere is left", || {
        Ok((scene.sessions()?.len() == 1).then_some(()))
    })?;
    assert!(datagram_comes_back(&scene.lab.elsewhere(), (NODE_V4, UDP), SOON)?);
    scene.agent.told(&["lock", "--user", "example.com/alice"])?;
    node.endpoints.nobody_reaches(UDP)?;
    node.endpoints.nobody_reaches(UDP + 1)
}
