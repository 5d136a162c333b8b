//! A real mosh whose client moves: its session stands still, and goes on where the user is by right.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use lab::{ALICE, Identity, Mosh, Order, eventually, move_to};
use serde_json::Value;

use crate::scene::{Scene, text};

/// Another address of alice's, in the same network.
const MOVED: Ipv4Addr = Ipv4Addr::new(198, 51, 111, 77);
/// What comes at all has come by then, on the slowest of machines.
const SOON: Duration = Duration::from_secs(60);
/// Names a role whose sessions follow their user.
const FOLLOWING: &str = r#"extension:roles@cotter=["following"]"#;

struct Roaming {
    scene: Scene,
    alice: Identity,
    mosh: Mosh,
    session: String,
}

impl Roaming {
    /// Alice's mosh runs, and her ssh connection is closed.
    fn new(role: &str) -> Result<Self> {
        let follows = &["pin_source_ip: true", "on_new_address: follow"];
        let scene = Scene::new("enforce", |agent| agent.role("following", follows), |sshd| sshd)?;
        let alice = scene.ca.issue("alice", &order(role, &pin(ALICE.v4)))?;
        let mosh = Mosh::start(&scene.at_alice(&alice))?;
        let listed = eventually("alice's connection is closed", || {
            Ok(scene.sessions()?.into_iter().find(|session| session["flows"] == 0))
        })?;
        let session = text(&listed, "id")?.to_owned();
        let mut roaming = Self { scene, alice, mosh, session };
        roaming.answers("one")?;
        Ok(roaming)
    }

    /// Types a word and waits for its answer.
    fn answers(&mut self, word: &str) -> Result<()> {
        self.mosh.types(word)?;
        self.mosh.shows(word)
    }

    /// Moves alice, who types; waits until the kernel has dropped some of it, and looks that nothing came back.
    fn stands_still_at(&mut self, address: Ipv4Addr, word: &str) -> Result<()> {
        let dropped = self.dropped()?;
        move_to(&self.scene.lab.alice(), address)?;
        self.mosh.types(word)?;
        eventually("her datagrams are dropped", || Ok((self.dropped()? > dropped + 2).then_some(())))?;
        ensure!(!self.mosh.has_shown(word)?, "answered at {address}");
        Ok(())
    }

    fn dropped(&self) -> Result<u64> {
        let listed = self.scene.sessions()?.into_iter().find(|it| it["id"] == self.session.as_str());
        Ok(listed.and_then(|session| session["dropped"].as_u64()).unwrap_or_default())
    }

    /// Where the session is pinned to.
    fn pinned(&self) -> Result<String> {
        pinned(&self.scene, &self.session)
    }

    /// A fresh certificate and login from wherever she is.
    fn logs_in_at(&self, role: &str, address: Ipv4Addr) -> Result<()> {
        self.scene.ca.certify(&self.alice, &order(role, &pin(address)))?;
        self.scene.at_alice(&self.alice).succeed("true").map(drop)
    }
}

/// Where a session is pinned to.
fn pinned(scene: &Scene, id: &str) -> Result<String> {
    let listed = scene.sessions()?.into_iter().find(|session| session["id"] == id);
    Ok(listed.and_then(|session| Some(session["pinned"][0].as_str()?.to_owned())).unwrap_or_default())
}

/// Waits until the agent has looked at all sessions once more: it has noticed that one has ended since.
fn looked_at_again(scene: &Scene) -> Result<()> {
    let bob = scene.bob()?;
    let mark = scene.agent.mark()?;
    scene.at_alice(&bob).succeed("true")?;
    let closed = |event: &Value| event["event"] == "session_closed" && event["login"] == "bob";
    scene.agent.event_since(mark, "bob's session is closed", closed).map(drop)
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
    alice.mosh.shows("two")?;
    alice.mosh.shows("three")?;
    alice.answers("four")
}

#[test]
fn a_mosh_session_follows_a_fresh_login_where_its_role_says_so_and_leaves_the_former_place() -> Result<()> {
    let mut alice = Roaming::new(FOLLOWING)?;
    alice.stands_still_at(MOVED, "two")?;
    alice.logs_in_at(FOLLOWING, MOVED)?;
    alice.mosh.shows("two")?;
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
    assert_eq!(alice.pinned()?, pin(MOVED));
    Ok(())
}

#[test]
fn a_session_does_not_follow_somebody_else_who_uses_the_same_account() -> Result<()> {
    let mut alice = Roaming::new(FOLLOWING)?;
    move_to(&alice.scene.lab.alice(), MOVED)?;
    let place = pin(MOVED);
    let carol = alice.scene.ca.issue("carol", &Order { key_id: "carol", ..order(FOLLOWING, &place) })?;
    let _session = alice.scene.at_alice(&carol).stay()?;
    looked_at_again(&alice.scene)?;
    assert_eq!(alice.pinned()?, pin(ALICE.v4));
    alice.stands_still_at(MOVED, "two")
}

#[test]
fn a_session_follows_no_login_that_is_denied_nor_one_that_audit_lets_in() -> Result<()> {
    let mut alice = Roaming::new(FOLLOWING)?;
    move_to(&alice.scene.lab.alice(), MOVED)?;
    // All of it is right, but for a role that the node does not know.
    let (place, roles) = (pin(MOVED), [r#"extension:roles@cotter=["following","nowhere"]"#]);
    alice.scene.ca.certify(&alice.alice, &Order { options: &roles, ..order(FOLLOWING, &place) })?;
    let login = alice.scene.at_alice(&alice.alice);
    alice.scene.refused(&login, "role_unknown")?;
    alice.stands_still_at(MOVED, "two")?;

    alice.scene.agent.told(&["mode", "audit"])?;
    let _session = login.stay()?;
    looked_at_again(&alice.scene)?;
    assert_eq!(alice.pinned()?, pin(ALICE.v4));
    alice.scene.agent.told(&["mode", "enforce"])?;
    alice.stands_still_at(MOVED, "three")?;
    alice.logs_in_at(FOLLOWING, MOVED)?;
    alice.mosh.shows("three")
}

#[test]
fn a_session_stays_where_its_connection_is_and_follows_once_that_is_closed() -> Result<()> {
    let follows = &["pin_source_ip: true", "on_new_address: follow"];
    let scene = Scene::new("enforce", |agent| agent.role("following", follows), |sshd| sshd)?;
    let alice = scene.ca.issue("alice", &order(FOLLOWING, &pin(ALICE.v4)))?;
    let left = "setsid sh -c 'echo ready; exec sleep 1000 >/dev/null 2>&1' </dev/null & exec cat";
    let mut session = scene.at_alice(&alice).run_at_terminal(left)?;
    session.hears("ready", SOON)?;
    let listed = scene.session_of("alice")?;
    let id = text(&listed, "id")?.to_owned();
    // Of logins within one second neither is the later one.
    eventually("the next second has come", || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok((Some(now) > listed["opened_at"].as_u64()).then_some(()))
    })?;

    // Her other address, beside the first.
    scene.lab.alice().run("ip", &["address", "add", &format!("{MOVED}/24"), "dev", "eth0"])?;
    scene.ca.certify(&alice, &order(FOLLOWING, &pin(MOVED)))?;
    let _other = scene.at_alice(&alice).option(&format!("-oBindAddress={MOVED}")).stay()?;
    looked_at_again(&scene)?;
    assert_eq!(pinned(&scene, &id)?, pin(ALICE.v4));
    session.send("still here")?;
    session.hears("still here", SOON)?;

    session.hang_up()?;
    eventually("it has followed", || Ok((pinned(&scene, &id)? == pin(MOVED)).then_some(())))
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
