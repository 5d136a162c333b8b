//! The third part: what a session opens is held, too. A real mosh roams.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use lab::{
    ALICE, Agent, AgentSetup, Ca, Identity, Lab, Login, Mosh, Order, Sshd, SshdSetup, eventually, move_to,
};

use crate::part::{self, Step};
use crate::screen::Screen;

/// Where alice moves to.
const MOVED: Ipv4Addr = Ipv4Addr::new(198, 51, 111, 77);
const ROLE: &str = r#"extension:roles@cotter=["roaming"]"#;

const STEPS: [Step<Roaming>; 4] = [
    ("Alice starts mosh, and her ssh connection is closed", starts),
    ("She moves, and mosh follows her: to the node, but no further", moves),
    ("She logs in again from there, and mosh goes on", logs_in_again),
    ("A copy of her mosh turns up where she was", copy_turns_up),
];

/// A node, and alice with a mosh.
struct Roaming {
    screen: Screen,
    mosh: Option<Mosh>,
    alice: Identity,
    _sshd: Sshd,
    agent: Agent,
    ca: Ca,
    lab: Lab,
}

/// Plays all of it; whether every step came out right.
pub(crate) fn play() -> Result<bool> {
    let screen = Screen::new();
    screen.title("What a session opens is held, too: a real mosh");
    screen.say("  alice      198.51.111.1  where alice is at first, and 198.51.111.77 where she goes");
    screen.say(
        "  node       198.51.100.10 enforces; her role says pin_source_ip: true, on_new_address: follow",
    );
    Ok(part::play(screen, Roaming::set(screen)?, &STEPS))
}

impl Roaming {
    fn set(screen: Screen) -> Result<Self> {
        let lab = Lab::start()?;
        let ca = Ca::new(lab.node(), "example")?;
        let agent = AgentSetup::new("enforce")
            .cluster("example.com", &ca, "roles_from = \"cotter\"")?
            .role("roaming", &["pin_source_ip: true", "on_new_address: follow"])
            .start(&lab)?;
        let sshd = SshdSetup::with_cotter(&ca)?.start(&lab)?;
        let pin = format!("{}/32", ALICE.v4);
        let alice = ca.issue("alice", &order(&pin))?;
        Ok(Self { screen, mosh: None, alice, _sshd: sshd, agent, ca, lab })
    }

    fn mosh(&mut self) -> Result<&mut Mosh> {
        self.mosh.as_mut().context("no mosh runs")
    }

    /// Types a word into mosh.
    fn types(&mut self, word: &str) -> Result<()> {
        self.screen.command("alice, in mosh", Mosh::command(word));
        self.mosh()?.types(word)
    }

    /// Waits for its answer.
    fn shows(&mut self, word: &str) -> Result<()> {
        self.mosh()?.shows(word)?;
        self.screen.printed(&Mosh::answer(word));
        Ok(())
    }

    fn moves_to(&self, address: Ipv4Addr) -> Result<()> {
        self.screen.say(&format!("what alice's machine sends comes from {address} from now on"));
        move_to(&self.lab.alice(), address)
    }

    /// Waits until datagrams are dropped, and looks that the word was not answered.
    fn is_not_answered(&mut self, word: &str, dropped: u64) -> Result<u64> {
        let now = eventually("her datagrams are dropped", || {
            let now = self.dropped()?;
            Ok((now > dropped + 2).then_some(now))
        })?;
        if self.mosh()?.has_shown(word)? {
            bail!("mosh went on");
        }
        Ok(now - dropped)
    }

    fn dropped(&self) -> Result<u64> {
        let listed = self.agent.json(&["sessions"])?;
        let sessions = listed["sessions"].as_array().into_iter().flatten();
        Ok(sessions.filter_map(|session| session["dropped"].as_u64()).sum())
    }

    fn administrator(&self, arguments: &[&str]) -> Result<()> {
        self.screen.command("node", format_args!("cotter-agent {}", arguments.join(" ")));
        self.screen.printed(&self.agent.told(arguments)?);
        Ok(())
    }
}

fn order(pin: &str) -> Order<'_> {
    Order { options: &[ROLE], ..Order::login("alice", &["alice"]) }.pinned(pin)
}

fn starts(roaming: &mut Roaming) -> Result<String> {
    let login = Login::new(&roaming.lab.alice(), &roaming.alice, "alice");
    roaming.screen.command("alice", "mosh alice@198.51.100.10");
    let mosh = Mosh::start(&login)?;
    let port = mosh.port;
    roaming.mosh = Some(mosh);
    roaming.types("hello")?;
    roaming.shows("hello")?;
    roaming.administrator(&["sessions"])?;
    Ok(format!("mosh answers at UDP port {port}"))
}

fn moves(roaming: &mut Roaming) -> Result<String> {
    let before = roaming.dropped()?;
    roaming.moves_to(MOVED)?;
    roaming.types("moved")?;
    let dropped = roaming.is_not_answered("moved", before)?;
    Ok(format!("frozen: {dropped} datagrams dropped, address_mismatch"))
}

fn logs_in_again(roaming: &mut Roaming) -> Result<String> {
    let pin = format!("{MOVED}/32");
    roaming.ca.certify(&roaming.alice, &order(&pin))?;
    let login = Login::new(&roaming.lab.alice(), &roaming.alice, "alice");
    roaming.screen.command("alice", format_args!("{login} true"));
    login.succeed("true")?;
    roaming.shows("moved")?;
    Ok(format!("the session is pinned to {MOVED} now, and what she typed is answered"))
}

fn copy_turns_up(roaming: &mut Roaming) -> Result<String> {
    let before = roaming.dropped()?;
    roaming.moves_to(ALICE.v4)?;
    roaming.types("copy")?;
    let dropped = roaming.is_not_answered("copy", before)?;
    roaming.moves_to(MOVED)?;
    roaming.shows("copy")?;
    Ok(format!("{dropped} datagrams dropped; from {MOVED} it goes on"))
}
