//! A real authority on the node, and people who log in there.

mod policy;

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::{Output, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::ca::Ca;
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::network::{NODE_V4, NODE_V6};
use crate::place::Place;
use crate::process::Process;

const AUTHORITY: &str = "/usr/sbin/cotter-authority";
pub(crate) const CLIENT: &str = "/usr/bin/cotter";
const CONFIG: &str = "/etc/cotter/authority.toml";
const PORT: u16 = 8443;
/// What it says of its decisions.
const EVENTS: &str = "/var/log/cotter/authority.jsonl";

/// A running authority, which reads its roles where the agent does.
#[derive(Debug)]
pub struct Authority {
    node: Place,
    /// Of its TLS certificate.
    fingerprint: String,
    /// What nodes trust.
    pub ca: Ca,
    process: Process,
}

impl Authority {
    /// Makes one of the cluster `example.com`, with further lines of configuration, and starts it. The role files that
    /// users have must be there.
    pub fn start(lab: &Lab, lines: &str) -> Result<Self> {
        let node = lab.node();
        let listen = format!("[\"{NODE_V4}:{PORT}\", \"[{NODE_V6}]:{PORT}\"]");
        node.write(CONFIG, &format!("name = \"example.com\"\nlisten = {listen}\n{lines}"))?;
        let told: Value = serde_json::from_str(&node.run(AUTHORITY, &["init", "--json"])?)?;
        let fingerprint = told["fingerprint"].as_str().context("no fingerprint")?.to_owned();
        let keys = told["user_ca"].as_array().context("no keys")?.iter().filter_map(Value::as_str);
        let ca = Ca::known(node, "authority", &keys.collect::<Vec<_>>().join("\n"))?;
        let events = node.enter(|| File::create(EVENTS))??;
        let process =
            node.spawn(Place::command(AUTHORITY).arg("run").stdout(events).stderr(Stdio::null()))?;
        let authority = Self { node: node.clone(), fingerprint, ca, process };
        let listens = || node.enter(|| std::net::TcpStream::connect((NODE_V4, PORT)).is_ok());
        eventually("the authority listens", || Ok(listens()?.then_some(())))?;
        Ok(authority)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("https://{NODE_V4}:{PORT}")
    }

    /// The fingerprint of its TLS certificate, as `init` tells it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Adds somebody with this password; `arguments` name roles, such as `--role pinned-ip`.
    pub fn add(&self, user: &str, password: &str, arguments: &[&str]) -> Result<()> {
        let output =
            spoken_to(&self.node, AUTHORITY, &[&["user", "add", user], arguments].concat(), password)?;
        if !output.status.success() {
            bail!("user add {user}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Its address of the same family as another, and its port.
    pub fn at(&self, family: IpAddr) -> SocketAddr {
        let node: IpAddr = if family.is_ipv4() { NODE_V4.into() } else { NODE_V6.into() };
        SocketAddr::new(node, PORT)
    }

    /// What it has decided so far.
    pub fn events(&self) -> Result<Vec<Value>> {
        let text = self.node.read(EVENTS)?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Logs somebody in from a place, by the client; what came of it.
    pub fn log_in(&self, from: &Place, user: &str, password: &str) -> Result<Output> {
        let at = self.at(NODE_V4.into());
        self.log_in_at(from, at, &self.fingerprint, user, password)
    }

    /// The same by way of what listens there with a certificate of that fingerprint.
    pub fn log_in_at(
        &self,
        from: &Place,
        at: SocketAddr,
        fingerprint: &str,
        user: &str,
        password: &str,
    ) -> Result<Output> {
        let url = format!("https://{at}");
        let arguments =
            ["login", "--authority", &url, "--user", user, "--fingerprint", fingerprint, "--password-stdin"];
        spoken_to(from, CLIENT, &arguments, password)
    }

    /// Runs `cotter` from a place, as whoever logged in last, without a terminal.
    pub fn client(from: &Place, arguments: &[&str]) -> Result<Output> {
        from.output(Place::command(CLIENT).args(arguments).stdin(Stdio::null()))
    }
}

/// Runs a program that reads one line.
fn spoken_to(place: &Place, program: &str, arguments: &[&str], line: &str) -> Result<Output> {
    let mut command = Place::command(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = place.spawn(&mut command)?;
    let mut input = child.stdin.take().context("no input")?;
    writeln!(input, "{line}")?;
    drop(input);
    let mut output = Output { status: child.wait()?, stdout: Vec::new(), stderr: Vec::new() };
    // They say little: a pipe holds it.
    if let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) {
        std::io::Read::read_to_end(&mut stdout, &mut output.stdout)?;
        std::io::Read::read_to_end(&mut stderr, &mut output.stderr)?;
    }
    Ok(output)
}
