//! A real mosh whose client moves: its session stands still, and goes on where the user is by right.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use lab::{ALICE, Identity, Mosh, Order, Terminal, eventually, move_to};

use crate::scene::{Scene, text};

/// Another address of alice's, in the same network.
const MOVED: Ipv4Addr = Ipv4Addr::new(198, 51, 111, 77);
/// Names a role whose sessions follow their user.
const FOLLOWING: &str = r#"extension:roles@cotter=["following"]"#;

struct Roaming {
    scene: Scene,
    alice: Identity,
    terminal: Terminal,
    session: String,
}

impl Roaming {
    /// Alice's mosh runs, and her ssh connection is closed.
    fn new(role: &str) -> Result<Self> {
        let follows = &["pin_source_ip: true", "on_new_address: follow"];
        let scene = Scene::new("enforce", |agent| agent.role("following", follows), |sshd| sshd)?;
        let alice = scene.ca.issue("alice", &order(role, &pin(ALICE.v4)))?;
        let mosh = Mosh::start(&scene.at_alice(&alice))?;
        let terminal = mosh.client(&scene.lab.alice())?;
        let listed = eventually("alice's connection is closed", || {
            Ok(scene.sessions()?.into_iter().find(|session| session["flows"] == 0))
        })?;
        let session = text(&listed, "id")?.to_owned();
        let mut roaming = Self { scene, alice, terminal, session };
        roaming.answers("one")?;
        Ok(roaming)
    }

    /// Types a command and waits for what it prints.
    fn answers(&mut self, word: &str) -> Result<()> {
        self.types(word)?;
        self.shows(word)
    }

    fn types(&mut self, word: &str) -> Result<()> {
        self.terminal.press(&format!("echo {word}$((40+2))\r"))
    }

    fn shows(&mut self, word: &str) -> Result<()> {
        let answer = format!("{word}42");
        self.terminal.shows(&answer, |screen| screen.contains(&answer)).map(drop)
    }

    /// Moves alice, who types; waits until the kernel has dropped some of it, and looks that nothing came back.
    fn stands_still_at(&mut self, address: Ipv4Addr, word: &str) -> Result<()> {
        let dropped = self.dropped()?;
        move_to(&self.scene.lab.alice(), address)?;
        self.types(word)?;
        eventually("her datagrams are dropped", || Ok((self.dropped()? > dropped + 2).then_some(())))?;
        let screen = self.terminal.shows("anything", |_| true)?;
        ensure!(!screen.contains(&format!("{word}42")), "answered at {address}: {screen}");
        Ok(())
    }

    fn dropped(&self) -> Result<u64> {
        let listed = self.scene.sessions()?.into_iter().find(|it| it["id"] == self.session.as_str());
        Ok(listed.and_then(|session| session["dropped"].as_u64()).unwrap_or_default())
    }

    /// A fresh certificate and login from wherever she is.
    fn logs_in_at(&self, role: &str, address: Ipv4Addr) -> Result<()> {
        self.scene.ca.certify(&self.alice, &order(role, &pin(address)))?;
        self.scene.at_alice(&self.alice).succeed("true").map(drop)
    }
}

fn pin(address: Ipv4Addr) -> String {
    format!("{address}/32")
}

fn order<'a>(role: &'a str, pin: &'a str) -> Order<'a> {
    let options: &'a [&'a str] = match role {
        FOLLOWING => &[FOLLOWING],
        _ => &[crate::scene::PINNING],
    };
    Order { options, ..Order::login("alice", &["alice"]) }.pinned(pin)
}

#[test]
fn a_mosh_session_freezes_when_its_client_moves_and_revives_when_it_comes_back() -> Result<()> {
    let mut alice = Roaming::new(crate::scene::PINNING)?;
    alice.stands_still_at(MOVED, "two")?;
    // A login of hers from there changes nothing: her role lets no session follow.
    alice.logs_in_at(crate::scene::PINNING, MOVED)?;
    alice.stands_still_at(MOVED, "three")?;
    move_to(&alice.scene.lab.alice(), ALICE.v4)?;
    alice.shows("two")?;
    alice.shows("three")?;
    alice.answers("four")
}

#[test]
fn a_mosh_session_follows_a_fresh_login_where_its_role_says_so_and_leaves_the_former_place() -> Result<()> {
    let mut alice = Roaming::new(FOLLOWING)?;
    alice.stands_still_at(MOVED, "two")?;
    alice.logs_in_at(FOLLOWING, MOVED)?;
    alice.shows("two")?;
    alice.answers("three")?;
    let followed = alice.scene.agent.event("the session has followed", |event| {
        event["event"] == "session_followed" && event["session"] == alice.session.as_str()
    })?;
    assert_eq!(followed["pinned"][0], pin(MOVED));
    assert_eq!(followed["observed"], MOVED.to_string());
    // A copy of her client at the former place is as much a stranger as any.
    alice.stands_still_at(ALICE.v4, "four")?;
    // The next agent knows where she is.
    alice.scene.agent.kill9()?;
    alice.scene.agent.start()?;
    move_to(&alice.scene.lab.alice(), MOVED)?;
    alice.answers("five")?;
    assert_eq!(alice.scene.session_of("alice")?["pinned"][0], pin(MOVED));
    Ok(())
}

#[test]
fn nobody_follows_to_a_wider_pin() -> Result<()> {
    let mut alice = Roaming::new(FOLLOWING)?;
    let anywhere = Order { options: &[crate::scene::OPEN], ..Order::login("alice", &["alice"]) };
    alice.scene.ca.certify(&alice.alice, &anywhere.pinned("198.51.0.0/16"))?;
    move_to(&alice.scene.lab.alice(), MOVED)?;
    alice.scene.at_alice(&alice.alice).succeed("true")?;
    alice.stands_still_at(MOVED, "two")
}

#[test]
fn a_cut_ends_mosh_where_it_is() -> Result<()> {
    let mut alice = Roaming::new(crate::scene::PINNING)?;
    alice.scene.agent.told(&["lock", "--user", "example.com/alice"])?;
    alice.stands_still_at(ALICE.v4, "two")
}
