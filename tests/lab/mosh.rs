//! A real mosh: a server that a login leaves behind, and a client at a terminal.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use crate::network::NODE_V4;
use crate::place::Place;
use crate::ssh::Login;
use crate::terminal::Terminal;

/// Both ends insist on it.
const LOCALE: (&str, &str) = ("LC_ALL", "C.UTF-8");

/// A mosh server that waits for its client.
#[derive(Clone, Debug)]
pub struct Mosh {
    /// Its UDP port.
    pub port: u16,
    key: String,
}

impl Mosh {
    /// Starts a server as `mosh` does: by a login that ends at once.
    pub fn start(login: &Login) -> Result<Self> {
        let said = login.succeed(&format!("{}={} mosh-server new -s -- sh", LOCALE.0, LOCALE.1))?;
        let line = said.lines().find_map(|line| line.strip_prefix("MOSH CONNECT "));
        let (port, key) = line.and_then(|line| line.split_once(' ')).with_context(|| said.clone())?;
        Ok(Self { port: port.parse()?, key: key.trim().to_owned() })
    }

    /// Its client.
    pub fn client(&self, place: &Place) -> Result<Terminal> {
        let mut client = Place::command("mosh-client");
        client.env(LOCALE.0, LOCALE.1).env("MOSH_KEY", &self.key).env("MOSH_PREDICTION_DISPLAY", "never");
        client.args([NODE_V4.to_string(), self.port.to_string()]);
        Terminal::start(place, &client)
    }
}

/// Moves a host to another address of its wire's network: what it sends from now on comes from there.
pub fn move_to(place: &Place, address: Ipv4Addr) -> Result<()> {
    let [a, b, c, _] = address.octets();
    let (gateway, address) = (Ipv4Addr::new(a, b, c, 254).to_string(), address.to_string());
    place.run("ip", &["address", "replace", &format!("{address}/24"), "dev", "eth0"])?;
    place.run("ip", &["route", "replace", "default", "via", &gateway, "src", &address]).map(drop)
}
