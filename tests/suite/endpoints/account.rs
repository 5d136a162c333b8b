//! What an account's own systemd has started, with or without a session being there.

use std::path::PathBuf;

use agent_ebpf::Session;
use anyhow::{Context, Result, ensure};
use cotter_agent::datapath::Tables;
use lab::{AgentSetup, NODE_V4, Order, Place, Process, eventually};

use super::{Endpoints, NEVER, SERVER, SOON, UDP, datagram_comes_back};

/// A node that gives sessions scopes beside the service of their account's systemd, as logind does.
struct Node {
    endpoints: Endpoints,
    /// A cgroup of the systemd of alice's account.
    manager: PathBuf,
}

impl Node {
    fn new() -> Result<Self> {
        Self::with(|agent| agent)
    }

    fn with(agent: impl FnOnce(AgentSetup) -> AgentSetup) -> Result<Self> {
        let endpoints = Endpoints::with(agent)?;
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
        self.serves_so(port, "")
    }

    /// The same with further arguments.
    fn serves_so(&self, port: u16, how: &str) -> Result<Process> {
        let node = self.endpoints.scene.lab.node();
        let into = self.manager.join("cgroup.procs");
        let start = format!(
            "echo $$ >{} && exec setpriv --reuid alice --clear-groups /usr/bin/python3 {SERVER} udp {port} {how}",
            into.display()
        );
        let server = node.spawn(Place::command("sh").args(["-c", &start]))?;
        eventually("the server serves", || {
            let there = datagram_comes_back(node, (NODE_V4, port), NEVER)?;
            Ok(there.then_some(()))
        })?;
        Ok(server)
    }

    /// Waits until what ran before the account's first login is held.
    fn is_held(&self, port: u16) -> Result<()> {
        eventually("what ran before is held too", || Ok((!self.elsewhere_reaches(port)?).then_some(())))?;
        self.endpoints.only_alice_reaches(port)
    }

    /// Changes what the kernel goes by for the account, whose sessions are all over.
    fn change_account(&self, change: impl FnOnce(Session) -> Session) -> Result<()> {
        let tables =
            self.endpoints.scene.lab.node().enter(|| Tables::open("/sys/fs/bpf/cotter".as_ref()))??;
        let all = tables.sessions()?;
        let (id, kernel) = all.first().context("nothing is left of the account")?;
        ensure!(tables.update_session(*id, &change(*kernel))?, "it is gone");
        Ok(())
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
    node.is_held(UDP)?;
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

#[test]
fn accounts_take_no_room_from_logins() -> Result<()> {
    let node = Node::with(|agent| agent.line("max_sessions = 2"))?;
    let scene = &node.endpoints.scene;
    let (_server, alice) = (node.serves(UDP)?, scene.alice()?);
    let mut first = scene.at_alice(&alice).stay()?;
    let _second = scene.at_alice(&alice).stay()?;
    node.is_held(UDP)?;
    scene.refused_a_session(&scene.at_alice(&alice), "table_full")?;
    first.hang_up()?;
    eventually("there is room again", || Ok((scene.sessions()?.len() == 1).then_some(())))?;
    scene.at_alice(&alice).succeed("true").map(drop)
}

#[test]
fn a_socket_that_cannot_remember_whose_it_is_keeps_no_other_from_it() -> Result<()> {
    let node = Node::new()?;
    let _server = node.serves_so(UDP, "hoard")?;
    let _session = node.endpoints.scene.at_alice(&node.endpoints.scene.alice()?).stay()?;
    node.is_held(UDP)?;
    eventually("that one has failed is told", || {
        Ok(node.endpoints.scene.agent.log()?.contains("descriptors of process").then_some(()))
    })
}

#[test]
fn the_end_of_what_an_account_runs_is_kept_by_the_wall_clock() -> Result<()> {
    let mut node = Node::new()?;
    let _server = node.serves(UDP)?;
    let ending = Order { options: &[crate::scene::ENDING], ..Order::login("alice", &["alice"]) };
    let scene = &node.endpoints.scene;
    let alice = scene.ca.issue("alice", &ending.pinned(crate::scene::AT_ALICE))?;
    scene.at_alice(&alice).succeed("true")?;
    scene.deserted()?;
    node.is_held(UDP)?;

    // As a clock leaves it that was set meanwhile, or stood still in suspend.
    node.change_account(|kernel| kernel.with_deadline(1))?;
    node.endpoints.nobody_reaches(UDP)?;
    node.endpoints.scene.agent.kill9()?;
    node.endpoints.scene.agent.start()?;
    node.endpoints.only_alice_reaches(UDP)
}
