//! A real authority on the node, and people who log in there.

mod policy;

use std::io::Write;
use std::process::{Output, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::ca::Ca;
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::network::NODE_V4;
use crate::place::Place;
use crate::process::Process;

const AUTHORITY: &str = "/usr/sbin/cotter-authority";
const CLIENT: &str = "/usr/bin/cotter";
const CONFIG: &str = "/etc/cotter/authority.toml";
const PORT: u16 = 8443;

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
        node.write(CONFIG, &format!("name = \"example.com\"\nlisten = [\"{NODE_V4}:{PORT}\"]\n{lines}"))?;
        let told: Value = serde_json::from_str(&node.run(AUTHORITY, &["init", "--json"])?)?;
        let fingerprint = told["fingerprint"].as_str().context("no fingerprint")?.to_owned();
        let keys = told["user_ca"].as_array().context("no keys")?.iter().filter_map(Value::as_str);
        let ca = Ca::known(node, "authority", &keys.collect::<Vec<_>>().join("\n"))?;
        let process =
            node.spawn(Place::command(AUTHORITY).arg("run").stdout(Stdio::null()).stderr(Stdio::null()))?;
        let authority = Self { node: node.clone(), fingerprint, ca, process };
        let listens = || node.enter(|| std::net::TcpStream::connect((NODE_V4, PORT)).is_ok());
        eventually("the authority listens", || Ok(listens()?.then_some(())))?;
        Ok(authority)
    }

    /// Adds somebody with this password and role.
    pub fn add(&self, user: &str, password: &str, role: &str) -> Result<()> {
        let output = spoken_to(&self.node, AUTHORITY, &["user", "add", user, "--role", role], password)?;
        if !output.status.success() {
            bail!("user add {user}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Logs somebody in from a place, by the client; what came of it.
    pub fn log_in(&self, from: &Place, user: &str, password: &str) -> Result<Output> {
        let url = format!("https://{NODE_V4}:{PORT}");
        let arguments = [
            "login",
            "--authority",
            &url,
            "--user",
            user,
            "--fingerprint",
            &self.fingerprint,
            "--password-stdin",
        ];
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
