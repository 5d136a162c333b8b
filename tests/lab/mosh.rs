//! A real mosh: a server that a login leaves behind, and its client at a terminal.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use crate::network::NODE_V4;
use crate::place::Place;
use crate::ssh::Login;
use crate::terminal::Terminal;

/// Both ends insist on it.
const LOCALE: (&str, &str) = ("LC_ALL", "C.UTF-8");

/// A mosh, and a person who types words into it that the other end answers.
pub struct Mosh {
    /// The server's UDP port.
    pub port: u16,
    client: Terminal,
}

impl Mosh {
    /// Starts a server as `mosh` does, by a login that ends at once, and a client where the login comes from.
    pub fn start(login: &Login) -> Result<Self> {
        let said = login.succeed(&format!("{}={} mosh-server new -s -- sh", LOCALE.0, LOCALE.1))?;
        let line = said.lines().find_map(|line| line.strip_prefix("MOSH CONNECT "));
        let (port, key) = line.and_then(|line| line.split_once(' ')).with_context(|| said.clone())?;
        let mut client = Place::command("mosh-client");
        client.env(LOCALE.0, LOCALE.1).env("MOSH_KEY", key.trim()).env("MOSH_PREDICTION_DISPLAY", "never");
        client.args([&NODE_V4.to_string(), port]);
        Ok(Self { port: port.parse()?, client: Terminal::start(login.place(), &client)? })
    }

    /// The command that a word is typed as: what it prints is not what was typed.
    pub fn command(word: &str) -> String {
        format!("echo {word}$((40+2))")
    }

    /// What the other end answers to a word.
    pub fn answer(word: &str) -> String {
        format!("{word}42")
    }

    /// Types a word.
    pub fn types(&mut self, word: &str) -> Result<()> {
        self.client.press(&format!("{}\r", Self::command(word)))
    }

    /// Waits until a word is answered.
    pub fn shows(&mut self, word: &str) -> Result<()> {
        let answer = Self::answer(word);
        self.client.shows(&answer, |screen| screen.contains(&answer)).map(drop)
    }

    /// Whether a word has been answered so far.
    pub fn has_shown(&mut self, word: &str) -> Result<bool> {
        let screen = self.client.shows("the screen", |_| true)?;
        Ok(screen.contains(&Self::answer(word)))
    }
}

/// Moves a host to another address of its wire's network: what it sends from now on comes from there.
pub fn move_to(place: &Place, address: Ipv4Addr) -> Result<()> {
    let [a, b, c, _] = address.octets();
    let (gateway, address) = (Ipv4Addr::new(a, b, c, 254).to_string(), address.to_string());
    place.run("ip", &["address", "replace", &format!("{address}/24"), "dev", "eth0"])?;
    place.run("ip", &["route", "replace", "default", "via", &gateway, "src", &address]).map(drop)
}
