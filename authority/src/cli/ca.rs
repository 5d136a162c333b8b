//! `ca`: the keys that sign.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use ssh_key::HashAlg;

use super::{Common, Failure, output};
use crate::audit::{Subject, What};
use crate::ca::{self, CaKeys, KeySource};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the public keys, one a line, the one that signs first
    Export,
    /// List the keys: which one signs, and where each is
    Ls,
    /// Make a key, for `ca_keys`; nothing uses it before it stands there
    New {
        /// Where to; there must be nothing yet
        file: PathBuf,
    },
}

pub(super) fn ca(common: &Common, command: Command) -> Result<(), Failure> {
    match command {
        Command::Export => export(common),
        Command::Ls => list(common),
        Command::New { file } => new(common, file),
    }
}

fn export(common: &Common) -> Result<(), Failure> {
    let keys = CaKeys::load(&common.load()?.ca_keys).map_err(Failure::usage)?;
    let lines = keys.public_lines().map_err(Failure::refused)?;
    if common.json {
        println!("{}", json!(lines.lines().collect::<Vec<_>>()));
    } else {
        print!("{lines}");
    }
    Ok(())
}

fn list(common: &Common) -> Result<(), Failure> {
    let config = common.load()?;
    let keys = CaKeys::load(&config.ca_keys).map_err(Failure::usage)?;
    let mut rows = Vec::new();
    for (number, (key, source)) in keys.fingerprints().zip(&config.ca_keys).enumerate() {
        let place = match source {
            KeySource::File(path) => path.display().to_string(),
            KeySource::Agent { agent, .. } => format!("ssh-agent at {}", agent.display()),
        };
        let signs = number == 0;
        if common.json {
            println!("{}", json!({ "fingerprint": key.to_string(), "signs": signs, "place": place }));
        } else {
            rows.push([key.to_string(), if signs { "yes" } else { "no" }.to_owned(), place]);
        }
    }
    if !common.json {
        output::table(["FINGERPRINT", "SIGNS", "PLACE"], rows);
    }
    Ok(())
}

fn new(common: &Common, file: PathBuf) -> Result<(), Failure> {
    let config = common.load()?;
    let file = std::path::absolute(file).map_err(Failure::usage)?;
    let key = ca::make(&file, &format!("{} user CA", config.name)).map_err(Failure::refused)?;
    let line = key.public_key().to_openssh().map_err(Failure::refused)?;
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    let subject = Subject { ca: Some(fingerprint.clone()), ..Subject::default() };
    common.audit(&config)?.write(What::CaKeyMade { file: file.clone() }, subject);
    if common.json {
        println!("{}", json!({ "file": file, "fingerprint": fingerprint, "public_key": line }));
        return Ok(());
    }
    println!("{line}");
    eprintln!("Now name {} in ca_keys, after the key that signs, and reload the authority.", file.display());
    eprintln!("Once all nodes trust it, put it first, and reload again.");
    Ok(())
}
